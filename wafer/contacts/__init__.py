"""Contacts, pillars and other closed features in SEM images: sizes, shapes, placement, defects, with uncertainty."""

from wafer.contacts.evaluate import ContactResult, ContactSettings, measure_contacts

__all__ = ["ContactResult", "ContactSettings", "measure_contacts"]
