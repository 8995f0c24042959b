"""The words of a campus: subjects with their courses, people, rooms, times. Nobody in here is real."""

from __future__ import annotations

COURSES: dict[str, tuple[tuple[str, str], ...]] = {
    "CSE": (("110", "Principles of Programming"), ("205", "Object-Oriented Programming and Data Structures"),
            ("230", "Computer Organization"), ("310", "Data Structures and Algorithms"),
            ("330", "Operating Systems"), ("355", "Theory of Computation"), ("471", "Introduction to AI")),
    "MAT": (("142", "College Mathematics"), ("210", "Brief Calculus"), ("243", "Discrete Mathematics"),
            ("265", "Calculus for Engineers I"), ("266", "Calculus for Engineers II"),
            ("343", "Applied Linear Algebra")),
    "PHY": (("101", "Introduction to Physics"), ("121", "Mechanics"), ("131", "Electricity and Magnetism")),
    "CHM": (("113", "General Chemistry I"), ("116", "General Chemistry II"), ("233", "Organic Chemistry I")),
    "BIO": (("100", "The Living World"), ("181", "General Biology I"), ("201", "Human Anatomy and Physiology I")),
    "PSY": (("101", "Introduction to Psychology"), ("230", "Statistics for Psychologists"),
            ("350", "Social Psychology")),
    "ECN": (("211", "Macroeconomic Principles"), ("212", "Microeconomic Principles"), ("312", "Microeconomic Theory")),
    "ENG": (("101", "First-Year Composition"), ("102", "First-Year Composition II"), ("216", "Persuasive Writing")),
    "HST": (("109", "United States to 1865"), ("302", "Studies in World History")),
    "EEE": (("120", "Digital Design Fundamentals"), ("202", "Circuits I"), ("334", "Circuits II")),
    "ART": (("113", "Color"), ("201", "Beginning Photography"), ("223", "Beginning Painting")),
    "SPA": (("101", "Elementary Spanish"), ("201", "Intermediate Spanish")),
}  # fmt: skip

FIRST_NAMES = (
    "Amara", "Ben", "Chiara", "Dinesh", "Elif", "Farid", "Grace", "Hiro", "Imani", "Jonas", "Kavita", "Leila",
    "Mateo", "Noor", "Olga", "Pablo", "Quinn", "Rosa", "Samir", "Tove", "Uma", "Viktor", "Wen", "Yara", "Zoe",
)  # fmt: skip
LAST_NAMES = (
    "Abbott", "Begay", "Castillo", "Dvořák", "Eriksen", "Fontaine", "García", "Holm", "Ivanova", "Jensen", "Kowalski",
    "Lindqvist", "Moreau", "Nakamura", "Okafor", "Patel", "Quiroga", "Rahman", "Schäfer", "Tran", "O'Neill", "Vargas",
    "Whitehorse", "Xu", "Yilmaz",
)  # fmt: skip
BUILDINGS = ("Coor Hall", "Byeng", "Life Sciences C", "Physical Sciences F", "West Hall", "Wexler Hall", "Design North")
DAYS = ("M W F", "T Th", "M W", "F", "Sa")
STARTS = ("8:00 AM - 9:15 AM", "9:05 AM - 9:55 AM", "10:30 AM - 11:45 AM", "12:00 PM - 1:15 PM", "3:00 PM - 4:15 PM")
CAPACITIES = (19, 24, 24, 30, 30, 40, 48, 60, 90, 120, 180, 300)
