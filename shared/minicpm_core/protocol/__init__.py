"""The protocol without I/O: request bodies, replies, streams, retries. Nothing here opens a socket or sleeps."""
