"""Says which values of a meter are unlike what its past lets expect."""

from models.anomaly.detect import Assessment, Why, assess, score
from models.anomaly.finding import Finding, findings

__all__ = ["Assessment", "Finding", "Why", "assess", "findings", "score"]
