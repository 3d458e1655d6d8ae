"""What Flower in the container reads: Celeriac's own configuration, at a path that stays."""

from celeriac.flowerconfig import *  # noqa: F403 -- Flower takes each name as an option
