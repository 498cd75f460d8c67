"""What streams have carried, so that clients can resume them; for both lines of the Python SDK."""

from mcp.server.streamable_http import EventMessage


class EventLog:
    """Everything since the start."""

    def __init__(self) -> None:
        self.events = []

    async def store_event(self, stream_id, message) -> str:
        self.events.append((stream_id, message))
        return str(len(self.events))

    async def replay_events_after(self, last_event_id, send_callback):
        seen = int(last_event_id)
        if not 0 < seen <= len(self.events):
            return None
        stream = self.events[seen - 1][0]
        for number, (stream_id, message) in enumerate(self.events[seen:], seen + 1):
            if stream_id == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream
