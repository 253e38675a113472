"""Other people's clients against the fake. They need an environment of their own: `make test-peers`.

Each client runs as a program of its own (`programs/`), so that what it imports, warns of and leaves behind is its own.
"""

import importlib.util

# Without those clients nothing here is collected: `make test` runs in an environment that does not have them.
collect_ignore_glob = [] if importlib.util.find_spec("litellm") else ["*"]
