"""What can go wrong with a store, in sentences for its user."""

from __future__ import annotations

__all__ = [
    "AmbiguousRunError",
    "RunNotFoundError",
    "StoreBusyError",
    "StoreError",
    "StoreGoneError",
    "StoreUnusableError",
    "UnfitRecordError",
]


class StoreError(Exception):
    """The store could not do what was asked; the message is a plain sentence. Trying again later may help."""


class StoreBusyError(StoreError):
    """Other processes were writing all the time: nothing is wrong, unless it goes on."""


class StoreGoneError(StoreError):
    """The directory was removed in which the file was to be: nothing is made there, unless it is there again."""


class StoreUnusableError(StoreError):
    """The file cannot be used (it is a newer version's, another program's, or damaged): trying again will not help."""


class UnfitRecordError(StoreError):
    """A record cannot be stored, now or later; those that came with it can, without it."""


class RunNotFoundError(StoreError):
    """No run of the store answers to this id."""


class AmbiguousRunError(StoreError):
    """More than one run of the store answers to this id."""
