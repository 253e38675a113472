"""Resources: one class per section of the API. Keywords in, a request struct, an answer struct out."""
