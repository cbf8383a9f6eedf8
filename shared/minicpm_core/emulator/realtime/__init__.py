"""The realtime half of the emulator: the protocol of the gateways before MiniCPM-o, on `/v1/realtime`.

    app           the WebSocket route: mode, key, fault, and what becomes of the connection
    settings      how it behaves
    faults        what can be made to go wrong
    desk          the queue before the workers
    session       one session, from the queue to its end
    striking      what a fault does to a session
    gen2, gen1    the words of the two generations of the protocol
    intake        from an append to a unit
    mind          the rules: when it listens, when it speaks, what it says
    hearing       loudness and pitch
    speech        the answer as sound, and `formants`, which make it
    chat          sessions that take turns
    state         what tests may look at

It needs the extra `[realtime]` beside `[emulator]`.
"""
