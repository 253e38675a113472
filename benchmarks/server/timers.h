/* Connections whose next piece is due later: a binary heap by `due`. */
#pragma once
#include "conn.h"

static Conn **timers;
static size_t timer_count, timer_room;

static void put(Conn *c, size_t at) { timers[at] = c; c->timer = at; }

static void sift(size_t at) {
    Conn *c = timers[at];
    for (; at > 1 && timers[at / 2]->due > c->due; at /= 2) put(timers[at / 2], at);
    for (size_t child; (child = at * 2) <= timer_count; at = child) {
        if (child < timer_count && timers[child + 1]->due < timers[child]->due) child++;
        if (timers[child]->due >= c->due) break;
        put(timers[child], at);
    }
    put(c, at);
}

static void set_timer(Conn *c) {
    if (timer_count + 2 > timer_room) {
        timer_room = timer_room ? timer_room * 2 : 1024;
        if (!(timers = realloc(timers, timer_room * sizeof *timers))) die("realloc");
    }
    put(c, ++timer_count);
    sift(timer_count);
}

static void drop_timer(Conn *c) {
    size_t at = c->timer;
    if (!at) return;
    c->timer = 0;
    Conn *last = timers[timer_count--];
    if (last != c) { put(last, at); sift(at); }
}
