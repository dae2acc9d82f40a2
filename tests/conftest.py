"""Settings of the whole suite."""

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

# Two cores are shared by workers, so a deadline per example would only measure the neighbours.
settings.register_profile("trailhound", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("trailhound")
