"""What people build on a client: helpers that are usable alone, each in a module of its own.

Nothing is imported here, so that a program pays for what it uses only: `from moonshot_async.toolkit import media`.
"""
