"""`python -m moonshot_async`: the command line."""

from moonshot_async.cli import main

if __name__ == "__main__":
    main()
