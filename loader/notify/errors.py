"""Why a message was not sent, in terms of what to do about it."""

from __future__ import annotations

from loader.errors import SiemError


class SendError(SiemError):
    """A channel did not take a message. The text holds no secret: it goes to the outbox, to logs and to the screen.

    ``maybe_taken``: nobody knows whether the receiver has it (a time-out, a 5xx), so it is sent again as it was, under
    the same key. ``whole_channel``: the next message would fare no better, so the channel rests first; else the
    receiver dislikes this very message. ``retry_after`` is what the receiver asked for, in seconds.
    """

    def __init__(
        self,
        message: str,
        *,
        maybe_taken: bool = False,
        whole_channel: bool = True,
        retry_after: float | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.maybe_taken = maybe_taken
        self.whole_channel = whole_channel
        self.retry_after = retry_after


class SecretError(SendError):
    """A secret is not where the configuration says."""
