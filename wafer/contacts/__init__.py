"""Contacts, pillars and other closed features in SEM images: sizes, shapes, placement, defects, with uncertainty."""

from wafer.contacts.evaluate import ContactResult, ContactSettings, measure_contacts
from wafer.contacts.match import ContactMatch, match_contacts

__all__ = ["ContactMatch", "ContactResult", "ContactSettings", "match_contacts", "measure_contacts"]
