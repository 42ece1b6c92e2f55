"""What may happen: addresses, events, the wire format, decisions, the stream.

The innermost room: it imports nothing else of ours. Users import `ipledger`.
"""
