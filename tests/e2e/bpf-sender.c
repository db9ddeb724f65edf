/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Linked statically, so that nothing but the kernel can see its socket: prints the mark it is given. */
#include <stdio.h>
#include <sys/socket.h>

int main(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    unsigned mark = 0;
    socklen_t size = sizeof(mark);

    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_MARK, &mark, &size) < 0)
        return 1;
    printf("%u\n", mark);
    return 0;
}
