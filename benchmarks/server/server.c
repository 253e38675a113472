/* The server of the benchmarks: it plays answers that were made beforehand, as fast as a client reads, in one thread.
 *
 *     server SCRIPTS [LIBSSL CERTIFICATE KEY]
 *
 * The first part of a request's path names a script, a file in the directory SCRIPTS; scripts.py says what is in one.
 * The port is the first line of the output. The server ends when its standard input does, so it outlives nobody.
 * HTTP/1.1, keep-alive, one answer at a time on each connection; request bodies need a Content-Length, are counted and
 * thrown away. TLS comes from the libssl that Python has loaded, by name, so that no header of it is needed.
 */
#include "conn.h"
/* conn.h says which dialect of C it is, so it comes first. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/timerfd.h>

#include "scripts.h"
#include "timers.h"
#include "tls.h"

static uint64_t number, random_state = 88172645463325252u;
static int epoll, timer;

/* --- Answers */

static void hang_up(Conn *c) {
    drop_timer(c);
    if (c->ssl) tls.free(c->ssl);
    close(c->fd);
    free(c->head);
    free(c->stamped);
    free(c);
}

static void watch(Conn *c, int wants_write) {
    if (c->wants_write == wants_write) return;
    c->wants_write = wants_write;
    struct epoll_event event = {EPOLLIN | (wants_write ? EPOLLOUT : 0), {.ptr = c}};
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
}

static uint64_t random_below(uint64_t bound) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return bound ? random_state % bound : 0;
}

static const char *stamped(Conn *c, const Piece *piece) {
    if (!piece->stamps) return piece->bytes;
    if (c->stamped) return c->stamped;
    c->stamped = malloc(piece->length + 1);
    memcpy(c->stamped, piece->bytes, piece->length);
    for (uint32_t s = 0; s < piece->stamps; s++) {
        uint32_t kind = piece->stamp[2 * s], offset = piece->stamp[2 * s + 1];
        char digits[STAMP + 1];
        uint64_t value = kind == CLOCK ? now_ns() : kind == NUMBER ? ++number : c->received;
        snprintf(digits, sizeof digits, "%*llu", STAMP, (unsigned long long)value);
        memcpy(c->stamped + offset, digits, STAMP);
    }
    return c->stamped;
}

/* Begin the next piece: whether it may be sent at once. */
static int begin_piece(Conn *c) {
    const Piece *piece = &c->answer->piece[c->piece];
    c->sent = 0;
    c->late = 0;
    if (!piece->delay_us) return 1;
    c->late = 1;
    if (piece->delay_us == NEVER) return 0;
    uint64_t delay = (uint64_t)piece->delay_us * 1000;
    c->due += piece->jittered ? random_below(delay) : delay;
    set_timer(c);
    return 0;
}

/* Send what may be sent now: 1 when the answer is out, 0 when there is something to wait for, -1 when the peer is gone. */
static int play(Conn *c) {
    while (1) {
        const Piece *piece = &c->answer->piece[c->piece];
        const char *bytes = stamped(c, piece);
        int last = c->piece + 1 == c->answer->pieces;
        int more = !last && !c->answer->piece[c->piece + 1].delay_us;
        while (c->sent < piece->length) {
            ssize_t done = transmit(c, bytes + c->sent, piece->length - c->sent, more);
            if (done > 0) { c->sent += (size_t)done; continue; }
            if (done < 0 && errno == EAGAIN) { watch(c, 1); return 0; }
            return -1;
        }
        free(c->stamped);
        c->stamped = NULL;
        if (last) { watch(c, 0); c->answer = NULL; return 1; }
        c->piece++;
        if (!begin_piece(c)) { watch(c, 0); return 0; }
    }
}

static int begin_answer(Conn *c) {
    Script *script = c->script;
    c->answer = &script->answer[script->turn];
    if (++script->turn == script->answers) script->turn = script->again_from;
    c->piece = 0;
    c->due = now_ns();
    return begin_piece(c) ? play(c) : 0;
}

/* --- Requests */

static int refuse(Conn *c, const char *status) {
    char answer[256];
    int length = snprintf(answer, sizeof answer, "HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status);
    transmit(c, answer, (size_t)length, 0);
    return -1;
}

static int read_head(Conn *c, size_t head_length) {
    char *path = memchr(c->head, '/', head_length), *end = c->head + head_length;
    char *after = path ? memchr(path + 1, '/', (size_t)(end - path - 1)) : NULL;
    c->script = after ? find_script(path + 1, (size_t)(after - path - 1)) : NULL;
    if (!c->script) return refuse(c, "404 Not Found");
    c->body_left = 0;
    int counted = c->head[0] == 'G'; /* GET needs no length */
    for (char *line = c->head; (line = memchr(line, '\n', (size_t)(end - line))) && ++line < end;)
        if (!strncasecmp(line, "content-length:", 15)) { c->body_left = strtoull(line + 15, NULL, 10); counted = 1; }
    if (!counted) return refuse(c, "411 Length Required");
    c->received = c->body_left;
    size_t rest = c->head_length - head_length, body = rest < c->body_left ? rest : (size_t)c->body_left;
    c->body_left -= body;
    c->head_length = rest - body;
    memmove(c->head, end + body, c->head_length);
    return 0;
}

/* Answer what is complete: -1 when the connection must go. */
static int serve(Conn *c) {
    while (!c->answer) {
        if (c->script) {
            if (c->body_left) return 0;
            int done = begin_answer(c);
            c->script = NULL;
            if (done <= 0) return done;
        }
        char *blank = memmem(c->head, c->head_length, "\r\n\r\n", 4);
        if (!blank) return c->head_length < MAX_HEAD ? 0 : refuse(c, "431 Request Header Fields Too Large");
        if (read_head(c, (size_t)(blank - c->head) + 4) < 0) return -1;
    }
    return 0;
}

static int readable(Conn *c) {
    while (1) {
        ssize_t got;
        int more = 1; /* TLS may hold bytes back that no event tells of; a full read says that there may be more */
        if (c->body_left) {
            if ((got = throw_away(c, c->body_left)) > 0) c->body_left -= (uint64_t)got;
        } else {
            if (c->head_length == MAX_HEAD) return -1;
            size_t room = MAX_HEAD - c->head_length;
            if ((got = receive(c, scratch, room)) > 0) {
                /* A connection keeps no more than it was sent: there may be 10,000 of them. */
                if (!(c->head = realloc(c->head, c->head_length + (size_t)got))) die("realloc");
                memcpy(c->head + c->head_length, scratch, (size_t)got);
                c->head_length += (size_t)got;
                more = c->ssl || (size_t)got == room;
            }
        }
        if (got < 0 && errno == EAGAIN) return 0;
        if (got <= 0 || serve(c) < 0) return -1;
        if (!more && !c->body_left) return 0;
    }
}

static int writable(Conn *c) {
    if (!c->answer || c->late) { watch(c, 0); return 0; }
    int done = play(c);
    return done == 1 ? serve(c) : done;
}

static void fire_timers(void) {
    uint64_t now = now_ns();
    while (timer_count && timers[1]->due <= now) {
        Conn *c = timers[1];
        drop_timer(c);
        c->late = 0;
        int done = play(c);
        if (done == 1) done = serve(c);
        if (done < 0) hang_up(c);
    }
    static uint64_t set_to;
    uint64_t next = timer_count ? timers[1]->due : 0;
    if (next == set_to && next > now) return;
    set_to = next;
    struct itimerspec at = {{0, 0}, {(time_t)(next / 1000000000u), (long)(next % 1000000000u)}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
}

static void accept_all(int listening) {
    int fd, on = 1;
    while ((fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        Conn *c = calloc(1, sizeof *c);
        c->fd = fd;
        if (tls.context) {
            c->ssl = tls.new(tls.context);
            tls.set_fd(c->ssl, fd);
            tls.accept_state(c->ssl);
        }
        struct epoll_event event = {EPOLLIN, {.ptr = c}};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

static int listen_anywhere(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(listening, (struct sockaddr *)&address, size) || listen(listening, 65535)) die("listen");
    getsockname(listening, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listening;
}

int main(int count, char **arguments) {
    if (count != 2 && count != 5) { fprintf(stderr, "server SCRIPTS [LIBSSL CERTIFICATE KEY]\n"); return 2; }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    prctl(PR_SET_TIMERSLACK, 1);
    signal(SIGPIPE, SIG_IGN);
    scripts_directory = arguments[1];
    if (count == 5) load_tls(arguments[2], arguments[3], arguments[4]);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    int listening = listen_anywhere(), owner = STDIN_FILENO;
    int *special[] = {&listening, &timer, &owner};
    for (int i = 0; i < 3; i++) {
        struct epoll_event event = {EPOLLIN, {.ptr = special[i]}};
        epoll_ctl(epoll, EPOLL_CTL_ADD, *special[i], &event);
    }
    while (1) {
        struct epoll_event events[512];
        int ready = epoll_wait(epoll, events, 512, -1);
        for (int i = 0; i < ready; i++) {
            void *what = events[i].data.ptr;
            if (what == &listening) accept_all(listening);
            else if (what == &owner) return 0;
            else if (what == &timer) { uint64_t fired; (void)!read(timer, &fired, 8); }
            else {
                Conn *c = what;
                int gone = events[i].events & EPOLLOUT ? writable(c) < 0 : 0;
                if (!gone && events[i].events & ~EPOLLOUT) gone = readable(c) < 0;
                if (gone) hang_up(c);
            }
        }
        fire_timers();
    }
}
