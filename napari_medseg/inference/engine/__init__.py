"""Communication between the window and the engine process: client, server, messages and shared memory."""
