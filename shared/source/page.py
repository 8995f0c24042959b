"""The catalog's page of a section, where a student enrols."""

from __future__ import annotations

from urllib.parse import urlencode

from shared.sections.section import Section

_CATALOG = "https://catalog.apps.asu.edu/catalog/classes/classlist"


def catalog_page(section: Section) -> str:
    """ASU's own page, searched for the section; digits are all of it that comes from us."""
    search = {
        "campusOrOnlineSelection": "A",
        "honors": "F",
        "keywords": section.class_nbr,
        "promod": "F",
        "searchType": "all",
        "term": section.term,
    }
    return f"{_CATALOG}?{urlencode(search)}"
