/*
 * tcps: a TCP server whose state shows: it answers each request line with the number of the answer
 * on this connection, counting up from 0, and the request.
 *
 * usage: tcps [PORT]      (7000 unless told)
 *
 * "hello\n" is answered with "0 hello\n", the next line with "1 ...". A client that numbers its
 * requests sees whether any was lost, doubled or out of order, and the server's number tells
 * whether the server is still the same. Up to 64 clients at once. Prints a line when a client comes
 * or goes, and one for every 100 answers.
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 64, LINE = 512 };

struct client {
    unsigned long answers;
    size_t filled;
    char line[LINE];
};

static struct pollfd sockets[CLIENTS + 2]; /* the last ones listen, one for each family of addresses */
static struct client clients[CLIENTS];

static void leave(int slot, const char *why)
{
    printf("client %d left after %lu answers: %s\n", slot, clients[slot].answers, why);
    close(sockets[slot].fd);
    sockets[slot].fd = -1;
}

static int send_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t sent = write(fd, data, size);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return -1;
        data += sent;
        size -= sent;
    }
    return 0;
}

static int answer(int slot, const char *request, size_t size)
{
    struct client *client = &clients[slot];
    char text[LINE + 32];
    int length = snprintf(text, sizeof text, "%lu %.*s\n", client->answers, (int)size, request);
    if (send_all(sockets[slot].fd, text, length) < 0)
        return -1;
    if (++client->answers % 100 == 0)
        printf("client %d: %lu answers\n", slot, client->answers);
    return 0;
}

static void serve(int slot)
{
    struct client *client = &clients[slot];
    ssize_t got = read(sockets[slot].fd, client->line + client->filled, LINE - client->filled);
    if (got <= 0) {
        if (got == 0 || errno != EINTR)
            leave(slot, got == 0 ? "closed" : strerror(errno));
        return;
    }
    client->filled += got;
    char *end;
    while ((end = memchr(client->line, '\n', client->filled))) {
        size_t size = end - client->line;
        if (answer(slot, client->line, size) < 0) {
            leave(slot, strerror(errno));
            return;
        }
        client->filled -= size + 1;
        memmove(client->line, end + 1, client->filled);
    }
    if (client->filled == LINE)
        leave(slot, "line too long");
}

static void welcome(int listener)
{
    int fd = accept(listener, NULL, NULL);
    if (fd < 0)
        return;
    for (int slot = 0; slot < CLIENTS; slot++) {
        if (sockets[slot].fd >= 0)
            continue;
        sockets[slot] = (struct pollfd){.fd = fd, .events = POLLIN};
        clients[slot] = (struct client){0};
        printf("client %d came\n", slot);
        return;
    }
    close(fd);
}

static int listens(const struct sockaddr *address, socklen_t size)
{
    int yes = 1;
    int listener = socket(address->sa_family, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (address->sa_family == AF_INET6)
        setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes);
    if (listener < 0 || bind(listener, address, size) < 0 || listen(listener, 16) < 0)
        return -1;
    return listener;
}

int main(int argc, char **argv)
{
    int port = argc > 1 ? atoi(argv[1]) : 7000;
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int slot = 0; slot < CLIENTS; slot++)
        sockets[slot].fd = -1;
    int listener = listens((struct sockaddr *)&four, sizeof four);
    if (listener < 0) {
        perror("tcps");
        return 1;
    }
    sockets[CLIENTS] = (struct pollfd){.fd = listener, .events = POLLIN};
    /* Not every machine has IPv6; poll() passes over -1. */
    sockets[CLIENTS + 1] = (struct pollfd){.fd = listens((struct sockaddr *)&six, sizeof six), .events = POLLIN};
    printf("listening on port %d\n", port);
    for (;;) {
        if (poll(sockets, CLIENTS + 2, -1) < 0)
            continue;
        for (int slot = 0; slot < CLIENTS; slot++)
            if (sockets[slot].fd >= 0 && sockets[slot].revents)
                serve(slot);
        for (int slot = CLIENTS; slot < CLIENTS + 2; slot++)
            if (sockets[slot].revents)
                welcome(sockets[slot].fd);
    }
}
