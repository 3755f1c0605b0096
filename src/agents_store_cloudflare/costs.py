"""The costs of the store's work: meters, the costs that they count, and Cloudflare's prices."""

from agents_store_cloudflare.contract.costs import Cost, CostEstimate, D1Cost, ObjectCost, Prices
from agents_store_cloudflare.metering.costs import CLOUDFLARE_PRICES, estimate
from agents_store_cloudflare.metering.meter import Meter

__all__ = ["CLOUDFLARE_PRICES", "Cost", "CostEstimate", "D1Cost", "Meter", "ObjectCost", "Prices", "estimate"]
