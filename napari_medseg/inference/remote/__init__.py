"""An engine on another computer: messages over WebSocket, and the engine that falls back to this computer.

No torch here, because the window uses it. Needs websockets (the extra `remote`), which is imported when a link opens.
"""
