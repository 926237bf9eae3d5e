"""`python -m uniface` and the command `uniface`: the command line, a program in this package."""
import os
import sys


def main() -> None:
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", "uniface")
    try:
        os.execv(program, ["uniface"] + sys.argv[1:])
    except OSError as error:
        sys.exit(f"uniface: {program} cannot be started: {error.strerror}")


if __name__ == "__main__":
    main()
