"""Lets this process find one host elsewhere: RESOLVE=HOST=ADDRESS."""

import os
import socket

if "RESOLVE" in os.environ:
    HOST, ADDRESS = os.environ["RESOLVE"].split("=")
    look_up = socket.getaddrinfo

    def getaddrinfo(host, *rest, **named):
        name = host.decode() if isinstance(host, bytes) else host
        return look_up(ADDRESS if name == HOST else host, *rest, **named)

    socket.getaddrinfo = getaddrinfo
