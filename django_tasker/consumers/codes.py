"""Why a connection was closed: the close codes, and the exception that leads to one.

A wrong origin is refused in the handshake (HTTP 403); all else after it, since a browser shows no other reason. But
for 1000 the codes are 4000 and the status that HTTP has for the same: servers (autobahn) send no others.
"""

from __future__ import annotations

ENDED = 1000  # all was sent: the task has ended
BAD_REQUEST = 4400  # a parameter, or a frame of the client, is wrong: see the reason
NOT_LOGGED_IN = 4401  # nobody is logged in, or no longer
FORBIDDEN = 4403  # they may not view this, or no longer
NOT_FOUND = 4404  # no task has this uuid
TOO_SLOW = 4408  # the client does not keep up with events, which are gone: look again at what matters
TOO_LARGE = 4413  # the client sent a frame that is too large
NOT_TEXT = 4415  # the client sent a binary frame
TOO_MANY = 4429  # the client sends frames all the time
BROKEN = 4500  # an error of the server, which is in its log
TRY_LATER = 4503  # the database is away: connect again later


class Refused(Exception):
    """Ends the connection with a code and a reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
