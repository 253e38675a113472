/* What everything else is about: scripts, and the connections that play them. */
#pragma once
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>

enum { CLOCK = 1, NUMBER = 2, RECEIVED = 3 };          /* what a stamp shows */
enum { MAX_HEAD = 65536, SCRATCH = 262144, STAMP = 20 }; /* bytes */
#define NEVER UINT32_MAX

typedef struct { uint32_t delay_us, jittered, stamps, length; const uint32_t *stamp; const char *bytes; } Piece;
typedef struct { uint32_t pieces; Piece *piece; } Answer;
typedef struct Script { char name[64]; uint32_t answers, again_from, turn; Answer *answer; struct Script *next; } Script;
typedef struct {
    int fd, wants_write, late;  /* late: its next piece waits for `due` */
    size_t timer;               /* its place among the timers, from 1; 0 for none */
    uint64_t due, received, body_left;
    char *head, *stamped;
    size_t head_length;
    Script *script;
    Answer *answer;             /* the one that is being sent */
    uint32_t piece;
    size_t sent;
    void *ssl;
} Conn;

static void die(const char *what) { perror(what); exit(1); }

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
