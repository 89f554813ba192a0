"""A TCP proxy that a test puts between two servers to break what lies between them.

    with Proxy(primary.port) as proxy:
        replica.call("REPLICAOF", "127.0.0.1", proxy.port)
        proxy.cut()                  # every connection ends now; the next one gets through
        proxy.refuses = True         # connections are accepted and closed at once
        proxy.stalls = True          # connections stay, nothing flows: a network that swallows
        proxy.delay_s = 0.05         # each piece arrives so much later
        proxy.chunk_bytes = 7        # pieces are that small, so that they end anywhere

One thread serves all connections of a proxy. What it holds for a slow reader is bounded, so that
the sender sees a full socket, as it would without a proxy. A byte is never lost but by `cut`."""
import collections
import select
import socket
import threading
import time

HELD_BYTES_MAX = 256 * 1024
READ_BYTES = 64 * 1024
IDLE_SECONDS = 0.5
CONNECT_SECONDS = 10


class Way:
    """One direction of a connection: what came from `source` and goes to `sink` when it is due."""

    def __init__(self, source, sink):
        self.source = source
        self.sink = sink
        self.pieces = collections.deque()
        self.held_bytes = 0
        self.has_ended = False
        self.is_shut = False

    def receive(self, due, chunk_bytes):
        """False when the connection is broken."""
        try:
            data = self.source.recv(READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.has_ended = not data
        step = chunk_bytes or len(data) or 1
        for start in range(0, len(data), step):
            self.pieces.append((due, data[start:start + step]))
        self.held_bytes += len(data)
        return True

    def send(self, now):
        """Send what is due. False when the connection is broken."""
        try:
            while self.pieces and self.pieces[0][0] <= now:
                due, data = self.pieces.popleft()
                sent = self.sink.send(data)
                self.held_bytes -= sent
                if sent < len(data):
                    self.pieces.appendleft((due, data[sent:]))
                    return True
            if self.has_ended and not self.pieces and not self.is_shut:
                self.is_shut = True
                self.sink.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            self.pieces.appendleft((due, data))
        except OSError:
            return False
        return True


class Proxy:
    """See the top of this file. `connection_count` counts the connections made so far."""

    def __init__(self, target_port, host="127.0.0.1"):
        self.target = (host, target_port)
        self.refuses = False
        self.stalls = False
        self.delay_s = 0.0
        self.chunk_bytes = 0
        self.connection_count = 0
        self.listener = socket.create_server((host, 0), backlog=64)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.ways = []
        self.lock = threading.Lock()
        self.waker, self.wakened = socket.socketpair()
        self.wakened.setblocking(False)
        self.is_over = False
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.is_over = True
        self._wake()
        self.thread.join(IDLE_SECONDS * 10)
        self.cut()
        for one in (self.listener, self.waker, self.wakened):
            one.close()

    def cut(self):
        """End all connections at once, as if a cable was pulled out of both machines."""
        with self.lock:
            ways, self.ways = self.ways, []
        for way in ways:
            end(way.source)
        self._wake()

    @property
    def open_count(self):
        return len(self.ways) // 2

    def _wake(self):
        try:
            self.waker.send(b"x")
        except OSError:
            pass

    def _serve(self):
        while not self.is_over:
            with self.lock:
                ways = list(self.ways)
            events, timeout = self._interest(ways)
            poll = select.poll()
            for descriptor, mask in events.items():
                if descriptor >= 0:
                    poll.register(descriptor, mask)
            for descriptor, mask in poll.poll(timeout * 1000):
                events[descriptor] = mask
                if descriptor == self.listener.fileno():
                    self._accept()
                elif descriptor == self.wakened.fileno():
                    self._drain_wakes()
            self._move(ways)

    def _interest(self, ways):
        """({descriptor: mask}, seconds until something is due). A stalled proxy only accepts."""
        events = {self.listener.fileno(): select.POLLIN, self.wakened.fileno(): select.POLLIN}
        timeout = 0.02 if self.stalls else IDLE_SECONDS
        now = time.monotonic()
        for way in [] if self.stalls else ways:
            if way.held_bytes < HELD_BYTES_MAX and not way.has_ended:
                source = way.source.fileno()
                events[source] = events.get(source, 0) | select.POLLIN
            if way.pieces and way.pieces[0][0] <= now:
                sink = way.sink.fileno()
                events[sink] = events.get(sink, 0) | select.POLLOUT
            elif way.pieces:
                timeout = min(timeout, way.pieces[0][0] - now)
        return events, timeout

    def _move(self, ways):
        """All sockets are tried: there are few, and none of them blocks."""
        if self.stalls:
            return
        now = time.monotonic()
        for way in ways:
            is_alive = True
            if way.held_bytes < HELD_BYTES_MAX and not way.has_ended:
                is_alive = way.receive(now + self.delay_s, self.chunk_bytes)
            if not (is_alive and way.send(time.monotonic())):
                self._forget(way)
        for way in ways:
            if way.is_shut and self._partner_is_shut(ways, way):
                self._forget(way)

    @staticmethod
    def _partner_is_shut(ways, way):
        return any(other.is_shut for other in ways if other.source is way.sink)

    def _forget(self, way):
        with self.lock:
            self.ways = [one for one in self.ways if one.source not in (way.source, way.sink)]
        end(way.source)
        end(way.sink)

    def _accept(self):
        try:
            client, _ = self.listener.accept()
        except OSError:
            return
        if self.refuses:
            end(client)
            return
        try:
            server = socket.create_connection(self.target, CONNECT_SECONDS)
        except OSError:
            end(client)
            return
        for one in (client, server):
            one.setblocking(False)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.lock:
            self.ways += [Way(client, server), Way(server, client)]
            self.connection_count += 1

    def _drain_wakes(self):
        try:
            self.wakened.recv(4096)
        except BlockingIOError:
            pass


def end(one):
    """Close with a reset, so that neither side waits for what will not come."""
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    except OSError:
        pass
    one.close()
