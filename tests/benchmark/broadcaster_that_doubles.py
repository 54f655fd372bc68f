"""See `wrong_broadcaster`."""

from tests.benchmark.wrong_broadcaster import run

if __name__ == "__main__":
    run("doubles")
