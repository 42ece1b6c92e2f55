"""Attribution in bulk: records of traffic joined with who held their addresses at their time."""

from replay.attribution.answers import FIELDS, FIELDS_USUAL, STATUSES, Answers, Known
from replay.attribution.blocks import Block, blocks_of, cut_csv, cut_lines
from replay.attribution.csv_join import Columns, CsvJoin, csv_rendering
from replay.attribution.join import CAUSES, Join, Joined, decoded
from replay.attribution.json_join import JsonJoin, Members, json_rendering
from replay.attribution.moments import TIME_FORMATS, time_reader
from replay.attribution.names import added_names
from replay.attribution.tally import Fault, Tally

__all__ = [
    "CAUSES",
    "FIELDS",
    "FIELDS_USUAL",
    "STATUSES",
    "TIME_FORMATS",
    "Answers",
    "Block",
    "Columns",
    "CsvJoin",
    "Fault",
    "Join",
    "Joined",
    "JsonJoin",
    "Known",
    "Members",
    "Tally",
    "added_names",
    "blocks_of",
    "csv_rendering",
    "cut_csv",
    "cut_lines",
    "decoded",
    "json_rendering",
    "time_reader",
]
