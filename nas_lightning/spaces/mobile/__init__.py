"""The mobile space of ProxylessNAS (Cai et al., ICLR 2019)."""

from nas_lightning.spaces.mobile.family import Mobile
from nas_lightning.spaces.mobile.network import MOBILE_CANDIDATES, MobileNetwork, rounded
from nas_lightning.spaces.mobile.space import MobileSpace

__all__ = ["MOBILE_CANDIDATES", "Mobile", "MobileNetwork", "MobileSpace", "rounded"]
