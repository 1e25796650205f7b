"""Where pySigma looks for this project's backend: installed with it, so that ``sigma list targets`` shows it."""

from loader.detection.backend import SiemBackend

__all__ = ["SiemBackend"]
