"""A way to the gateway that counts what goes up and, when told to, breaks in the middle of it."""

import socket
import threading
from urllib.parse import urlsplit

BLOCK = 1 << 16


class Way:
    """Forwards connections to `endpoint`. After `limit` bytes upwards nothing passes any more, and `broken` is set."""

    def __init__(self, endpoint, limit=None):
        url = urlsplit(endpoint)
        self.target = (url.hostname, url.port)
        self.limit = limit
        self.passed = 0
        self.broken = threading.Event()
        self.closed = threading.Event()
        self.lock = threading.Lock()
        self.sockets = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Cuts every connection."""
        self.closed.set()
        with self.lock:
            sockets = [self.listener, *self.sockets]
        for each in sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()

    def _accept(self):
        while not self.closed.is_set():
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.target)
            except OSError:
                return
            with self.lock:
                self.sockets += [client, server]
            threading.Thread(target=self._up, args=(client, server), daemon=True).start()
            threading.Thread(target=_pump, args=(server, client), daemon=True).start()

    def _up(self, client, server):
        try:
            while block := client.recv(BLOCK):
                with self.lock:
                    left = len(block) if self.limit is None else max(0, self.limit - self.passed)
                    block = block[:left]
                    self.passed += len(block)
                if not block:
                    self.broken.set()
                    self.closed.wait()
                    return
                server.sendall(block)
            server.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def _pump(source, sink):
    try:
        while block := source.recv(BLOCK):
            sink.sendall(block)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass
