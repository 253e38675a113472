/* Scripts, read when they are first asked for; scripts.py has the format. */
#pragma once
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conn.h"

static const char *scripts_directory;
static Script *scripts;

static uint32_t take_number(const char **at) {
    uint32_t value;
    memcpy(&value, *at, 4);
    *at += 4;
    return value;
}

static void parse_answer(Answer *answer, const char **at) {
    answer->pieces = take_number(at);
    answer->piece = calloc(answer->pieces, sizeof(Piece));
    for (uint32_t i = 0; i < answer->pieces; i++) {
        Piece *piece = &answer->piece[i];
        piece->delay_us = take_number(at);
        piece->jittered = take_number(at);
        piece->stamps = take_number(at);
        piece->length = take_number(at);
        uint32_t *stamp = calloc(piece->stamps * 2 + 1, sizeof *stamp);
        for (uint32_t s = 0; s < piece->stamps * 2; s++) stamp[s] = take_number(at);
        piece->stamp = stamp;
        piece->bytes = *at;
        *at += piece->length;
    }
}

static Script *find_script(const char *name, size_t length) {
    for (Script *s = scripts; s; s = s->next)
        if (strlen(s->name) == length && !memcmp(s->name, name, length)) return s;
    char path[4096];
    struct stat about;
    if (length >= sizeof scripts->name || memchr(name, '.', length)) return NULL;
    snprintf(path, sizeof path, "%s/%.*s", scripts_directory, (int)length, name);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &about)) return NULL;
    char *bytes = malloc((size_t)about.st_size);
    if (!bytes || read(fd, bytes, (size_t)about.st_size) != about.st_size) die(path);
    close(fd);
    Script *script = calloc(1, sizeof *script);
    memcpy(script->name, name, length);
    const char *at = bytes;
    script->answers = take_number(&at);
    script->again_from = take_number(&at);
    script->answer = calloc(script->answers, sizeof(Answer));
    for (uint32_t i = 0; i < script->answers; i++) parse_answer(&script->answer[i], &at);
    script->next = scripts;
    return scripts = script;
}
