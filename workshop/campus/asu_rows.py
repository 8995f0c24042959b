"""One section as a row of the catalog's JSON interface, with every field that a real answer carries.

Few of them matter. All are sent, because what an answer weighs and what a reader must step over are part of the
contract: numbers are strings within `CLAS` and whole numbers within `seatInfo`, an absent instructor is null, and
some times hold HTML.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from workshop.campus.sections import Course, Values

_EMPTY = (
    "RQMNTDESIGNTN", "DESCR4", "DESCRFORMAL", "DESCRLONG", "FLATAMOUNT1", "FLATAMOUNT2", "DESCR50", "SCTNCOMBINEDID",
    "CAPNBR", "CAPSTARTDATE", "CLASSNOTENBR", "CRSEATTEFFDT", "CRSEATTVALUE", "ADDRESS1", "ADDRESS2", "ADDRESS3",
    "CITY", "STATE", "ASUBLDADDRESS", "ENDTIMEFORMATTED", "CLASSDAYS", "SHORT_DESC", "STARTTIMEFORMATTED",
)  # fmt: skip
_NULL = (
    "CRSEID1", "CRSEOFFERNBR1", "GRADINGBASIS", "XLATLONGNAME1", "FEESEXIST", "DESCRLONG1", "RQRMNTGROUP", "DESCR31",
    "DESCR254A", "RQMNTDESIGNTN1", "DESCR41", "DESCRFORMAL1", "PROMODCOHORTCD", "IFRAMENOTES", "PASSENROLLDEADLINE",
    "MTGDATESSTRTIME", "BLDGCD",
)  # fmt: skip
_SAME: dict[str, Any] = {
    **dict.fromkeys(_EMPTY, ""), **dict.fromkeys(_NULL),
    "CRSEOFFERNBR": "1", "SESSIONCODE": "C", "CLASSMTGNBR": "1", "CAMPUS": "TEMPE", "SCHEDULEPRINT": "Y",
    "INSTRROLE": "PI", "WAITTOT": "0", "WAITCAP": "0", "CLASSNOTESSEQ": "0", "ACADCAREER": "UGRD",
    "COMPONENTPRIMARY": "LEC", "DESCR2": "Lecture", "UNITSMINIMUM": "3", "UNITSMAXIMUM": "3", "SSRCOMPONENT": "LEC",
    "XLATLONGNAME": "Lecture", "OPTIONALSECTION": "N", "COUNTROWS": "0", "CONSENT": "N", "CRSTOPICID": "0",
    "ACADGROUP": "AS", "DESCR5": "College of Everything", "ACADORG": "CEVERY", "DESCR501": "Everything",
    "DESCR6": "Program of Everything", "SCHEDPRINTINSTR": "Y", "CRSEREPEATABLE": "N", "CLASSTYPE": "E", "PROMOD": "N",
    "INSTRUCTOREDIT": "N", "SSRCOUNT": 1, "NOTES": [], "NOTESNUMBERS": [], "SSR": "Lecture", "PASSTERM": "Y",
    "SHOWSUNNUM": "N", "MULTIPLEMTGDATES": "N", "UNITSRANGE": "3 ", "CLASSSTAT": "A",
}  # fmt: skip
_DAYS = {"MON": "M", "TUES": "T", "WED": "W", "THURS": "Th", "FRI": "F", "SAT": "Sa", "SUN": "Su"}
_BEGINS = {"1": (1, 12), "4": (5, 18), "7": (8, 20)}  # month and day of a spring, a summer, a fall
_WEEKS = 15


def make_row(term: str, class_nbr: str, course: Course, live: Values, index: Values, loaded_ms: int) -> dict[str, Any]:
    """The row of a section whose seats are `live` now and were as in `index` when the index was loaded (epoch ms)."""
    row = {
        "CLAS": _clas(term, class_nbr, course, live, index, loaded_ms),
        "SUBJECTNUMBER": f"{course.subject} {course.catalog_nbr}",
        "SECTIONCLASSNUMBER": f"1{class_nbr[-3:]}-({class_nbr})",
        "DAYLIST": [_meeting(course)[0]],
        "NOTES": "",
        "HOURS": "3",
        "SSR": "Lecture",
        "LOCATIONBUILDING": _buildings(course),
        "MEETINGSTARTDATES": [],
        "MTGDATES": [],
        "GROUPORG": "College of Everything - Program of Everything",
        "KEYWORDMATCH": {"value": 1, "description": f"ConstantScore(+SUBJECT:{course.subject.lower()})", "details": []},
        "GSGOLD": "",
        "GSMAROON": "",
        "OFFEREDBY": {
            "DEPARTMENT": "Program of Everything",
            "INFO": {"ACADORG": "CEVERY", "ASUCOLLEGEURL": "", "DESCRFORMAL": "", "ENROLLREQ": None, "ACADGROUP": "AS"},
        },
        "HASSYLLABUS": False,
    }
    if live.seats_available is not None and live.seats_capacity is not None:
        row["seatInfo"] = {"ENRL_CAP": live.seats_capacity, "ENRL_TOT": live.seats_capacity - live.seats_available}
    if _tells_reserved(live):
        row["reservedSeatsInfo"] = _reserved(live)
    return row


def place_of(course: Course) -> str:
    """`ASUONLINE` for a class without a room, else the campus; the catalog counts its answers by it."""
    return "ASUONLINE" if course.location == "Internet" else "TEMPE"


def _clas(term: str, class_nbr: str, course: Course, live: Values, index: Values, loaded_ms: int) -> dict[str, Any]:
    days, start, end = _meeting(course)
    title, location = course.title, course.location or ""
    began = datetime(2000 + int(term[1:3]), *_BEGINS.get(term[3], _BEGINS["7"]), tzinfo=UTC)
    ended = began.fromordinal(began.toordinal() + 7 * _WEEKS)
    first, last = f"{began:%Y-%m-%d} 00:00:00.0", f"{ended:%Y-%m-%d} 00:00:00.0"
    section = f"1{class_nbr[-3:]}"
    taken, capacity = _enrolled(index)
    return {
        **_SAME,
        **_people(index),
        "STRM": term, "CLASSNBR": class_nbr, "id": class_nbr, "CRSEID": f"1{class_nbr}", "CLASSSECTION": section,
        "ASSOCIATEDCLASS": section, "ASSOCIATEDCLASSNOTNULL": section,
        "SUBJECT": course.subject, "SUBJECTFORSORTING": course.subject, "SUBJECTDESCRIPTION": course.subject,
        "CATALOGNBR": course.catalog_nbr, "CATALOGNBRFORSORTING": course.catalog_nbr,
        "CATALOGNBRNUMBER": int("".join(filter(str.isdigit, course.catalog_nbr)) or 0),
        "TITLE": title, "TITLEFORSORTING": f"Topic {title}", "COURSETITLELONG": title, "CLASSDESCR": title.upper(),
        "KEYWORDSEARCHSTR": f"{course.subject} {title}".lower(),
        "KEYWORDSEARCHSTRNOINSTRUCTOR": f"{course.subject} {title}".lower(),
        "LOCATION": place_of(course), "DESCR": "ASU at Tempe", "DESCR3": "Campus: Tempe", "DESCR1": location,
        "ASUBLDLOCATION": "TEMPE", "FACILITYID": location[:10].upper(), "ASUBLDNAME": location[:4].upper(),
        "ASUBLDNAMELIST": location[:4].upper(), "LOCATIONBUILDING": json.dumps(_buildings(course)),
        "INSTRUCTIONMODE": "OL" if place_of(course) == "ASUONLINE" else "P",
        "ENRLTOT": taken, "ENRLCAP": capacity, "ENRLSTAT": "C" if index.seats_available == 0 else "O",
        "HASACTIVERESERVEDSEATS": "Y" if _tells_reserved(live) else "N",
        "STARTDATE": first, "ENDDATE": last, "TERMBEGINDATE": first, "TERMENDDATE": last, "OFFICIALSTARTDATE": first,
        "OFFICIALENDDATE": last, "ENROLLDEADLINE": first, "DROPRETAINRECORD": first, "DROPWITHPENALTY": last,
        "WITHDRAWWITHPENALTY": last,
        "MEETINGDATES": [[f"{began.month}/{began.day}/{began.year}", f"{ended.month}/{ended.day}/{ended.year}"]],
        "MEETINGDATESFORSORTING": int(began.timestamp() * 1000), "LASTFULLUPDATETIMESTAMP": loaded_ms,
        **{name: "Y" if letter in days.split() else "N" for name, letter in _DAYS.items()},
        "DAYLIST": days, "STARTTIME": start, "ENDTIME": end, "STARTTIMES": [_dressed(class_nbr, start, end)],
        "ENDTIMES": [end], "STARTTIMESFORSORTING": start,
    }  # fmt: skip


def _people(values: Values) -> dict[str, Any]:
    """The instructor's fields: nobody is null in the list, and `STAFF` where rows are sorted."""
    name = values.instructor
    if not name or name == "Staff":
        last, listed = "STAFF", None
    else:
        last, listed = name.split()[-1], [name]
    keys = [f"{last}~{last.lower()}"] if listed else []
    firsts = [name.split()[0]] if name and listed else []
    return {
        "INSTRUCTORSLIST": listed,
        "INSTRUCTORSLASTNAMELIST": keys,
        "INSTRUCTORSFIRSTNAMELIST": [f"{first}~{last.lower()}" for first in firsts],
        "INSTRUCTORSFIRSTNAMESHOWALL": firsts,
        "INSTRUCTORSLASTNAMESHOWALL": keys,
        "INSTRUCTORLISTFORKEYWORD": (name or "").lower() if listed else "",
        "INSTRUCTORSLASTNAMELISTFORSORTING": last.upper(),
    }


def _enrolled(values: Values) -> tuple[str, str]:
    """(enrolled, capacity) as strings, empty where the catalog does not know."""
    seats, capacity = values.seats_available, values.seats_capacity
    taken = "" if seats is None or capacity is None else str(capacity - seats)
    return taken, "" if capacity is None else str(capacity)


def _tells_reserved(values: Values) -> bool:
    return values.non_reserved_seats is not None and values.seats_available is not None


def _reserved(values: Values) -> list[dict[str, Any]]:
    """Two groups whose open seats are those that are not free for all; one has more people than seats, as happens."""
    kept = max(0, (values.seats_available or 0) - (values.non_reserved_seats or 0))
    return [_group(kept + 2, 2, 101), _group(1, 33, 102)]


def _group(capacity: int, taken: int, number: int) -> dict[str, Any]:
    return {
        "ENRL_CAP": capacity,
        "ENRL_TOT": taken,
        "STUDENT_ENROLLED": None,
        "RSRV_CAP_NBR": number,
        "ASU_SR_COHORT_CD": None,
        "ASU_SR_COHORT_CD2": None,
    }


def _meeting(course: Course) -> tuple[str, str | None, str | None]:
    """(days, start, end) of "M W F 9:05 AM - 9:55 AM"; a class that meets at no time has no times."""
    words, dash, end = (course.meeting_times or "").partition(" - ")
    if not dash:
        return "", None, None
    days, clock, half = words.rsplit(" ", 2)
    return days, f"{clock} {half}", end


def _dressed(class_nbr: str, start: str | None, end: str | None) -> str | None:
    """The start; in one section of ten with the HTML that the catalog's own page was made from."""
    return f"{start}<br/>&nbsp;-{end}" if start and class_nbr.endswith("7") else start


def _buildings(course: Course) -> list[dict[str, str]]:
    name = course.location
    if not name:
        return []
    return [{"NAMEFORSORTING": name.upper(), "NAME": name, "DESCR": "ASU at Tempe", "ADDRESS": name, "URL": ""}]
