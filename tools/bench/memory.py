"""Bytes per key, by growth of resident memory and by the server's own count, and per idle connection."""
import socket
import time

from servers import Server

CASES = [("string, 8-byte value", 8, 0), ("string, 64-byte value", 64, 0),
         ("string, 64-byte value, with a TTL", 64, 100000)]


def per_key(command, count, value_len, ttl_s):
    server = Server("memory", command)
    try:
        rss, used = server.rss(), server.info("used_memory")
        server.fill(count, value_len, ttl_s)
        time.sleep(0.3)  # Buffers of the loading connection go back.
        return (server.rss() - rss) / count, (server.info("used_memory") - used) / count
    finally:
        server.stop()


def per_connection(command, count):
    server = Server("connections", command)
    links = []
    try:
        rss, used = server.rss(), server.info("used_memory")
        for _ in range(count):
            link = socket.create_connection(("127.0.0.1", server.port))
            link.sendall(b"PING\r\n")
            link.recv(64)
            links.append(link)
        return (server.rss() - rss) / count, (server.info("used_memory") - used) / count
    finally:
        for link in links:
            link.close()
        server.stop()
