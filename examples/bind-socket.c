/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Fetches a page by a network of your choice, whatever the default is:
 *
 *   cc -o bind-socket bind-socket.c $(pkg-config --cflags --libs libwaymark)
 *   ./bind-socket lte 198.51.100.1 80
 */

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <waymark.h>

/* A socket of that network, connected; or -1, and it has been said why. */
static int connect_by(wm_network_t network, const struct addrinfo *to)
{
    int fd = socket(to->ai_family, to->ai_socktype | SOCK_CLOEXEC, to->ai_protocol);

    if (fd < 0)
        perror("socket");
    else if (wm_setsocknetwork(network, fd) < 0)
        perror("wm_setsocknetwork");
    else if (connect(fd, to->ai_addr, to->ai_addrlen) < 0)
        perror("connect");
    else
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

/* Asks for "/" and copies the answer to the standard output. */
static int fetch(int fd)
{
    static const char request[] = "GET / HTTP/1.0\r\n\r\n";
    char answer[4096];
    ssize_t n = send(fd, request, strlen(request), MSG_NOSIGNAL);

    while (n > 0 && (n = recv(fd, answer, sizeof(answer), 0)) > 0)
        (void)fwrite(answer, 1, (size_t)n, stdout);
    if (n < 0)
        perror("fetch");
    return n < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM };
    struct addrinfo *to;
    wm_network_t network;
    int fd, code;

    if (argc != 4) {
        (void)fprintf(stderr, "usage: %s NETWORK ADDRESS PORT\n", argv[0]);
        return 2;
    }
    if (wm_network_by_name(argv[1], &network) < 0) {
        perror(argv[1]);
        return 1;
    }
    code = getaddrinfo(argv[2], argv[3], &hints, &to);
    if (code != 0) {
        (void)fprintf(stderr, "%s: %s\n", argv[2], gai_strerror(code));
        return 1;
    }
    fd = connect_by(network, to);
    freeaddrinfo(to);
    if (fd < 0)
        return 1;
    code = fetch(fd);
    (void)close(fd);
    return code;
}
