"""A tool for Studios that serves files of its workspace: GET reads one, PUT writes one, POST / ends the tool."""
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROOT = os.environ["WHERRY_STUDIO_WORKSPACE"]


class Tool(BaseHTTPRequestHandler):
    def path_of(self):
        return os.path.join(ROOT, os.path.basename(self.path))

    def answer(self, status, text=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        if self.path == "/":
            return self.answer(200, " ".join(sorted(os.listdir(ROOT))).encode())
        if self.path == "/favicon.ico":
            return self.answer(204)
        try:
            with open(self.path_of(), "rb") as file:
                self.answer(200, file.read())
        except FileNotFoundError:
            self.answer(404)

    def do_PUT(self):
        with open(self.path_of(), "wb") as file:
            file.write(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(201)

    def do_POST(self):
        self.answer(200)
        print("ended by a visitor", flush=True)
        os._exit(3)


print("serving", ROOT, flush=True)
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Tool).serve_forever()
