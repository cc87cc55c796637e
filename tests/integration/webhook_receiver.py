# SPDX-License-Identifier: Apache-2.0
"""A receiver of webhooks, and the check of their signatures."""

import base64
import hashlib
import hmac
import http.server
import threading

KEY = b"thirty-two bytes of a secret key"
SECRET = "whsec_" + base64.b64encode(KEY).decode()


class Receiver:
    """An HTTP server on a port that stays the same while it is stopped. `answers` maps a path to the status codes of its next requests; then 204.
    0 = never answers."""

    def __init__(self, port=0, answers=None):
        self.requests = []
        self.released = threading.Event()
        answers = answers if answers is not None else {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(handler):
                body = handler.rfile.read(int(handler.headers["content-length"]))
                self.requests.append((handler.path, dict(handler.headers.items()), body))
                waiting = answers.get(handler.path, [])
                status = waiting.pop(0) if waiting else 204
                if status == 0:
                    self.released.wait()
                    return
                handler.send_response(status)
                if status in (301, 302, 307, 308):
                    handler.send_header("location", "/stolen")
                handler.send_header("content-length", "0")
                handler.end_headers()

            do_GET = do_POST

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

    def of(self, path):
        return [request for request in self.requests if request[0] == path]


def check_signature(test, headers, body):
    headers = {name.lower(): value for name, value in headers.items()}
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    test.assertEqual(headers["webhook-signature"], expected)
    test.assertEqual(headers["content-type"], "application/json")
    return headers["webhook-id"]
