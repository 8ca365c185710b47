"""Maps of values over a wafer: the frame, places of fields, film maps from files, their summaries."""

from wafer.maps.film import read_film_maps
from wafer.maps.frame import WaferFrame, place_of
from wafer.maps.sites import SiteMap, SiteSummary

__all__ = ["SiteMap", "SiteSummary", "WaferFrame", "place_of", "read_film_maps"]
