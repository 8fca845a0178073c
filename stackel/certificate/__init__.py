"""What a point is worth, for every player."""

from stackel.certificate.certificate import Certificate, Verdict
from stackel.certificate.certify import certify, certify_points

__all__ = ["Certificate", "Verdict", "certify", "certify_points"]
