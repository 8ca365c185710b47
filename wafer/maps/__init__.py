"""Maps of values over a wafer: the frame, places of fields, film maps from files, their summaries."""

from wafer.maps.doubts import doubts
from wafer.maps.evaluate import FilmResult, measure_film_map
from wafer.maps.film import known_unit, read_film_maps, wafer_name, wafers_of
from wafer.maps.frame import WaferFrame, place_of
from wafer.maps.sites import SiteMap, SiteSummary

__all__ = [
    "FilmResult",
    "SiteMap",
    "SiteSummary",
    "WaferFrame",
    "doubts",
    "known_unit",
    "measure_film_map",
    "place_of",
    "read_film_maps",
    "wafer_name",
    "wafers_of",
]
