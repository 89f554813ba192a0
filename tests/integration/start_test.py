"""Start and end: configuration from file and command line, refusals, signals."""
import os
import signal
import subprocess
import unittest

from harness import Server, main, wait_until


def refusal(*args, config=None):
    """(exit status, output) of a server that is expected to give up."""
    server = Server(*args, config=config)
    try:
        process = server.launch(0)
        status = process.wait(20)
        return status, server.log().decode("utf-8", "replace")
    finally:
        server.kill()
        server.remove()


class Start(unittest.TestCase):
    def test_the_version_is_told(self):
        server = Server()
        self.addCleanup(server.remove)
        output = subprocess.run([server.binary, "--version"], stdout=subprocess.PIPE, text=True,
                                timeout=20, check=True)
        self.assertRegex(output.stdout, r"v=\d+\.\d+\.\d+")

    def test_the_command_line_overrides_the_file(self):
        with Server("--maxmemory", "5mb", config="maxmemory 1mb\ntimeout 77\n") as server:
            with server.connect() as conn:
                self.assertEqual(conn.call("CONFIG", "GET", "maxmemory"),
                                 [b"maxmemory", b"5242880"])
                self.assertEqual(conn.call("CONFIG", "GET", "timeout"), [b"timeout", b"77"])

    def test_a_value_of_the_command_line_is_one_word_and_a_list_may_be_too(self):
        with Server("--maxmemory", "5mb", "--requirepass", "a 'b\"\\ #c", "--save", "3600 1 300  100") as server:
            with server.connect() as conn:
                self.assertEqual(conn.call("AUTH", "a 'b\"\\ #c"), "OK")
                self.assertEqual(conn.call("CONFIG", "GET", "save")[1], b"3600 1 300 100")

    def test_files_that_include_each_other_are_refused_in_time(self):
        server = Server()
        self.addCleanup(server.remove)
        for name, other in (("a", "b"), ("b", "a")):
            with open(os.path.join(server.directory, name), "w", encoding="ascii") as file:
                file.write("include %s\n" % other * 3)
        ended = subprocess.run([server.binary, "a"], cwd=server.directory, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, timeout=20, check=False)
        self.assertEqual(ended.returncode, 1)
        self.assertIn(b"Too many levels of symbolic links", ended.stdout)

    def test_what_cannot_be_understood_is_refused_with_its_line(self):
        status, output = refusal(config="timeout 1\nnosuch thing\n")
        self.assertEqual(status, 1)
        self.assertIn("line 2", output)
        self.assertIn("nosuch thing", output)

    def test_what_a_list_cannot_show_again_is_refused(self):
        for line, why in (('bind 127.0.0.1 ""', "Failed to bind"), ('bind "127.0.0.1 ::1" ::1', "Failed to bind"),
                          ('replicaof "a b" 1', "Invalid master host"), ('replicaof "a\\"b" 1', "Invalid master host"),
                          ('replicaof "" 1', "Invalid master host"), ('save "3600 1" "60 5"', "Invalid save parameters")):
            with self.subTest(line):
                status, output = refusal(config=line + "\n")
                self.assertEqual(status, 1)
                self.assertIn(why, output)

    def test_a_port_that_is_taken_is_refused(self):
        with Server() as server:
            other = Server(port=server.port)
            self.addCleanup(other.remove)
            process = other.launch(server.port)
            self.addCleanup(other.kill)
            self.assertEqual(process.wait(20), 1)
            self.assertIn("ddress already in use", other.log().decode())
            with server.connect() as conn:
                self.assertEqual(conn.call("PING"), "PONG")

    def test_a_missing_file_is_refused(self):
        server = Server()
        self.addCleanup(server.remove)
        ended = subprocess.run([server.binary, "/nonexistent/redis.conf"], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, timeout=20, check=False)
        self.assertEqual(ended.returncode, 1)


class End(unittest.TestCase):
    def test_both_signals_end_it_in_order(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with Server() as server:
                with server.connect() as conn:
                    conn.call("SET", "k", "v")
                    os.kill(server.pid, number)
                    self.assertEqual(conn.read_to_end(), b"")
                self.assertEqual(server.process.wait(20), 0)

    def test_shutdown_ends_it(self):
        with Server() as server:
            with server.connect() as conn:
                conn.send_command("SHUTDOWN", "NOSAVE")
                self.assertEqual(conn.read_to_end(), b"")
            wait_until(lambda: server.process.poll() is not None, what="the end of the server")
            self.assertEqual(server.process.returncode, 0)


if __name__ == "__main__":
    main()
