"""The AWS emulator of the tests: moto's server, one request at a time.

    serve.py < PIPE

Listens on a free port of 127.0.0.1, prints its address as one line, and ends when its standard input does: so it never
outlives the test that holds the other end. What moto itself prints goes to standard error.

moto looks at a condition and then writes, without a lock in between. Two threads would both find the condition true, and
a test of conditional writes would prove nothing. So a request is read whole, then handled alone, then answered: only the
middle part excludes others, because a client that keeps a connection open must not keep the others waiting.
"""

import io
import logging
import os
import sys
import threading

from moto.core.config import default_user_config
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server


class OneAtATime:
    """A WSGI application that runs another for one request at a time."""

    def __init__(self, application):
        self.application = application
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        body = read_body(environ)
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        # It said that the body has no length of its own; now it has one.
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        with self.lock:
            answer = self.application(environ, start_response)
            try:
                return list(answer)
            finally:
                if hasattr(answer, "close"):
                    answer.close()


def read_body(environ):
    stream = environ["wsgi.input"]
    if environ.get("wsgi.input_terminated"):
        return stream.read()
    return stream.read(int(environ.get("CONTENT_LENGTH") or 0))


class Handler(MotoRequestHandler):
    # Head and body of an answer are two writes; with Nagle's algorithm the second waits 40 ms for the client's word.
    disable_nagle_algorithm = True

    def log_request(self, *args):
        pass


def backend_app(service):
    if service == "cloudformation":
        import stacks  # noqa: F401  (changes moto)
    if service == "dynamodb":
        import statements  # noqa: F401  (changes moto)
        import transactions  # noqa: F401
    return create_backend_app(service)


def end_with_standard_input():
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


def main():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    # Functions are only kept, not run: the tests run the real programs themselves. With Docker, moto would try.
    default_user_config["lambda"] = {"use_docker": False}
    # moto starts no tasks by itself, so a service's deployment would never finish. With this many said to run, that of
    # a service which wants no more has finished from the first.
    os.environ.setdefault("MOTO_ECS_SERVICE_RUNNING", "2")
    address, sys.stdout = sys.stdout, sys.stderr
    application = OneAtATime(DomainDispatcherApplication(backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Handler)
    # moto calls itself in a few places.
    os.environ["MOTO_PORT"] = str(server.port)
    threading.Thread(target=end_with_standard_input, daemon=True).start()
    print(f"http://127.0.0.1:{server.port}", file=address, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
