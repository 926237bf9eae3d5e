"""What a start of the program costs, and what happens when a library that is loaded late is not there. Argument: the program."""
import os
import subprocess

from harness import call, check, environment, error, finish, path, program, skip

# Each of these brings ten others or more, whatever the program was started for.
LATE = ("libpq.", "libcurl", "libgnutls.", "libmicrohttpd.", "libssl.", "libkrb5.")
linked = subprocess.run([program, "--version"], env=dict(environment, LD_TRACE_LOADED_OBJECTS="1"),
                        capture_output=True, text=True).stdout
check("the program is linked to few libraries", not [name for name in LATE if name in linked], linked)
broken = path("broken")
os.makedirs(broken)
open(os.path.join(broken, "libpq.so.5"), "w").close()
hidden = {"LD_LIBRARY_PATH": broken}
done = call("list", "-g", "postgresql://127.0.0.1:1/x", env=hidden)
if "libpq.so.5" in done.errors:
    error("PostgreSQL without its library", 3, "PostgreSQL's library cannot be loaded", "list", "-g", "postgresql://127.0.0.1:1/x",
          env=hidden)
else:
    skip("PostgreSQL without its library: this build has none, or one of another name")
finish()
