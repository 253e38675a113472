/* Bytes in and out of a connection, through the libssl that Python has loaded where it is TLS. */
#pragma once
#include <dlfcn.h>
#include <errno.h>
#include <sys/socket.h>

#include "conn.h"

static char scratch[SCRATCH];

static struct {
    void *context;
    void *(*server_method)(void), *(*context_new)(void *), *(*new)(void *);
    int (*chain)(void *, const char *), (*key)(void *, const char *, int), (*set_fd)(void *, int);
    void (*accept_state)(void *), (*free)(void *), (*forget_errors)(void);
    int (*read)(void *, void *, int), (*write)(void *, const void *, int), (*error)(const void *, int);
    long (*control)(void *, int, long, void *);
} tls;

static void *symbol(void *library, const char *name) {
    void *found = dlsym(library, name);
    if (!found) { fprintf(stderr, "libssl has no %s\n", name); exit(1); }
    return found;
}

static void load_tls(const char *path, const char *certificate, const char *key) {
    void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (!library) { fprintf(stderr, "%s\n", dlerror()); exit(1); }
    *(void **)&tls.server_method = symbol(library, "TLS_server_method");
    *(void **)&tls.context_new = symbol(library, "SSL_CTX_new");
    *(void **)&tls.new = symbol(library, "SSL_new");
    *(void **)&tls.chain = symbol(library, "SSL_CTX_use_certificate_chain_file");
    *(void **)&tls.key = symbol(library, "SSL_CTX_use_PrivateKey_file");
    *(void **)&tls.set_fd = symbol(library, "SSL_set_fd");
    *(void **)&tls.accept_state = symbol(library, "SSL_set_accept_state");
    *(void **)&tls.free = symbol(library, "SSL_free");
    *(void **)&tls.read = symbol(library, "SSL_read");
    *(void **)&tls.write = symbol(library, "SSL_write");
    *(void **)&tls.error = symbol(library, "SSL_get_error");
    *(void **)&tls.control = symbol(library, "SSL_CTX_ctrl");
    *(void **)&tls.forget_errors = symbol(library, "ERR_clear_error");
    tls.context = tls.context_new(tls.server_method());
    if (!tls.context || tls.chain(tls.context, certificate) != 1 || tls.key(tls.context, key, 1) != 1) {
        fprintf(stderr, "the certificate cannot be used\n");
        exit(1);
    }
    tls.control(tls.context, 33, 1 | 2, NULL); /* SSL_CTRL_MODE: partial writes, from a buffer that may move */
}

/* Both return what recv and send do: -1 with EAGAIN where it would block. */
static ssize_t tls_result(Conn *c, int done) {
    if (done > 0) return done;
    int error = tls.error(c->ssl, done);
    tls.forget_errors();
    if (error == 6) return 0; /* SSL_ERROR_ZERO_RETURN */
    errno = error == 2 || error == 3 ? EAGAIN : EIO;
    return -1;
}

static ssize_t receive(Conn *c, void *to, size_t room) {
    return c->ssl ? tls_result(c, tls.read(c->ssl, to, (int)room)) : recv(c->fd, to, room, 0);
}

static ssize_t throw_away(Conn *c, size_t most) {
    if (c->ssl) return receive(c, scratch, most < SCRATCH ? most : SCRATCH);
    return recv(c->fd, scratch, most < (1u << 30) ? most : 1u << 30, MSG_TRUNC); /* TCP copies nothing then */
}

static ssize_t transmit(Conn *c, const char *bytes, size_t length, int more) {
    if (c->ssl) return tls_result(c, tls.write(c->ssl, bytes, (int)(length < SCRATCH ? length : SCRATCH)));
    return send(c->fd, bytes, length, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
}
