#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`pinion report` writes one page that is well-formed, needs nothing from elsewhere, and shows what `pinion inspect
--json` says.

    test_report.py --pinion=build/pinion --work=FOLDER
"""
import argparse
import collections
import json
import os
import re
import shutil
import subprocess
import sys
import unittest
import xml.etree.ElementTree as ElementTree

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "tools", "export"))
from unpack_fixture import unpack  # noqa: E402

BAD_INPUT = 3
FIXTURE = "pi0_small_2_steps"
HOSTILE = "</title><script>alert('x')</script>&\"\x01\u2028"


class Report(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        shutil.rmtree(WORK, ignore_errors=True)
        unpack(os.path.join(ROOT, "tests", "fixtures", FIXTURE), WORK)
        cls.artifact = os.path.join(WORK, "artifact")
        subprocess.run([PINION, "compile", os.path.join(WORK, "model.onnx"), "-o", cls.artifact], check=True)
        cls.shown = json.loads(cls.pinion("inspect", cls.artifact, "--json"))
        cls.page = cls.pinion("report", cls.artifact)
        cls.root = ElementTree.fromstring(cls.page)

    @staticmethod
    def pinion(*words, status=0):
        done = subprocess.run([PINION, *words], capture_output=True, text=True)
        assert done.returncode == status, f"{words}: {done.returncode}\n{done.stderr}"
        return done.stdout if status == 0 else done.stderr

    @staticmethod
    def find(root, tag, name):
        return next(element for element in root.iter(tag) if element.get("id") == name)

    def rows(self, root, name):
        """A table's rows: their first cell's text, and the figures."""
        for row in self.find(root, "table", name).iter("tr"):
            cells = list(row.iter("td"))
            if cells:
                yield cells[0].text, [float(cell.get("data-value")) for cell in cells if cell.get("data-value")]

    def save(self, name, value):
        path = os.path.join(WORK, name)
        with open(path, "w") as file:
            json.dump(value, file)
        return path

    def test_the_page_needs_nothing_from_elsewhere(self):
        tags = {element.tag for element in self.root.iter()}
        self.assertFalse(tags & {"script", "link", "iframe", "img", "object", "embed", "base", "form", "a"}, tags)
        for element in self.root.iter():
            for attribute in element.attrib:
                self.assertFalse(attribute.startswith("on") or attribute in ("src", "href", "srcset", "action"), attribute)
        self.assertIsNone(re.search(r"https?:|//\w|url\(|@import", self.page))

    def test_tables_equal_inspects(self):
        tables = self.shown["tables"]
        figures = ("launches", "executed", "flops", "bytes", "estimated_microseconds")
        for name in ("stages", "kinds"):
            rows = list(self.rows(self.root, name))
            expected = [[row[figure] for figure in figures] for row in [*tables[name], tables["total"]]]
            self.assertEqual(len(rows), len(expected))
            for (_, found), wanted in zip(rows, expected):
                for x, y in zip(found, wanted, strict=True):
                    self.assertAlmostEqual(x, y, delta=1e-3)  # microseconds are printed with three decimals
        self.assertEqual([row for row, _ in self.rows(self.root, "kinds")][:-1], [kind["name"] for kind in tables["kinds"]])

    def test_the_account_and_the_passes_equal_the_manifests(self):
        ends = [end["count"] for end in self.shown["onnx"]["ends"]]
        account = [count for _, (count,) in self.rows(self.root, "account")]
        self.assertEqual(sorted(account[:-1]), sorted(ends))
        self.assertEqual(account[-1], self.shown["onnx"]["count"])
        passes = [(p["name"], [p["changes"], p["ops_before"], p["ops_after"]]) for p in self.shown["passes"]]
        self.assertEqual(list(self.rows(self.root, "passes")), passes)
        self.assertGreater(len(passes), 20)

    def bars(self, name):
        svg = self.find(self.root, "svg", name)
        return [rect for rect in svg.iter("rect") if rect.get("data-value")]

    def test_bars_are_as_long_as_what_they_show(self):
        total = self.shown["tables"]["total"]
        for metric in ("flops", "bytes", "executed"):
            for by in ("stage", "kind"):
                bars = self.bars(f"{metric}-by-{by}")
                self.assertAlmostEqual(sum(float(bar.get("data-value")) for bar in bars), total[metric], delta=1)
                scales = [float(bar.get("width")) / float(bar.get("data-value")) for bar in bars
                          if float(bar.get("width")) > 5]
                self.assertLess(max(scales) / min(scales), 1.01)
        self.assertEqual(sum(float(bar.get("data-value")) for bar in self.bars("nodes")), self.shown["onnx"]["count"])

    def test_what_stands_behind_a_bar_ends_within_the_chart_and_a_legend_names_each_part_once(self):
        for svg in self.root.iter("svg"):
            width = float(svg.get("viewBox").split()[2])
            for label in svg.iter("text"):
                if label.get("class") != "left":
                    self.assertLessEqual(float(label.get("x")) + 6.5 * len(label.text), width, f"{svg.get('id')}: {label.text}")
            legend = [label.text for label in svg.iter("text") if label.get("class") == "legend"]
            self.assertEqual(len(legend), len(set(legend)), svg.get("id"))

    def test_figures_are_shown_in_units_that_fit(self):
        small, large = (self.pinion("report", self.resized(factor)) for factor in (1e-3, 1e6))
        self.assertTrue(re.search(r"<b>[\d.]+</b><small>kFLOP a call", small))
        self.assertTrue(re.search(r"<b>\d+( \d\d\d)+</b><small>GFLOP a call", large))
        for page in (small, large):
            self.assertIsNone(re.search(r">[\d.]+e[-+]\d+<", page))

    def resized(self, factor):
        """The artifact's manifest with so many times the work."""
        copy = os.path.join(WORK, f"resized-{factor}")
        os.makedirs(copy, exist_ok=True)
        with open(os.path.join(self.artifact, "manifest.json")) as file:
            manifest = json.load(file)
        for launch in manifest["launches"]:
            launch["flops"] *= factor
        with open(os.path.join(copy, "manifest.json"), "w") as file:
            json.dump(manifest, file)
        return copy

    def test_the_memory_plan_has_each_buffer_of_the_arena_where_it_lies(self):
        boxes = collections.Counter(float(box.get("data-value")) for box in self.bars("memory"))
        used = {index for launch in self.shown["launches"] for index in launch["arguments"]}
        buffers = [b for b in self.shown["buffers"] if b["space"] == "arena" and b["index"] in used]
        self.assertEqual(boxes, collections.Counter(float(b["bytes"]) for b in buffers))
        boxes = self.bars("memory")
        for i, a in enumerate(boxes):  # no two that live at once overlap
            for b in boxes[i + 1:]:
                apart = []
                for start, size in (("x", "width"), ("y", "height")):
                    first, second = sorted((float(r.get(start)), float(r.get(start)) + float(r.get(size))) for r in (a, b))
                    apart.append(first[1] <= second[0] + 0.02)
                self.assertTrue(any(apart), f"{a[0].text} and {b[0].text}")

    def test_each_launch_shows_its_work_and_its_nodes(self):
        details = list(self.root.iter("details"))
        self.assertEqual(len(details), len(self.shown["launches"]))
        for shown, launch in zip(details, self.shown["launches"]):
            self.assertEqual(float(shown.get("data-flops")), launch["flops"])
            self.assertEqual(float(shown.get("data-bytes")), launch["bytes"])
            names = [code.text for paragraph in shown.iter("p") for code in paragraph.iter("code")]
            self.assertEqual(names, [self.shown["onnx"]["nodes"][node][0] for node in launch["nodes"]])

    def measurements(self):
        model, target = self.shown["name"], self.shown["target"]["name"]
        launches = [{"launch": i, "step": step, "microseconds": i + step + 0.5}
                    for i, launch in enumerate(self.shown["launches"])
                    for step in range(self.shown["stages"][launch["stage"]]["repeat"])]
        quantiles = {"p50": 1000, "p90": 2000, "p99": 3000}
        return ({"schema": 1, "model": model, "target": target, "replay_microseconds": 1234.5, "launches": launches},
                {"schema": 1, "model": model, "target": target, "replay_us": quantiles, "run_us": quantiles})

    def test_measured_times_are_added_where_they_are_given(self):
        profile, bench = self.measurements()
        page = self.pinion("report", self.artifact, "--profile=" + self.save("profile.json", profile),
                           "--bench=" + self.save("bench.json", bench))
        root = ElementTree.fromstring(page)
        total = sum(launch["microseconds"] for launch in profile["launches"])
        *_, (_, last) = self.rows(root, "stages")
        self.assertAlmostEqual(last[-1], total, places=6)
        for by in ("stage", "kind"):
            bars = [rect for rect in self.find(root, "svg", f"measured-by-{by}").iter("rect") if rect.get("data-value")]
            self.assertAlmostEqual(sum(float(bar.get("data-value")) for bar in bars), total, places=6)
        self.assertEqual(list(self.rows(root, "latency"))[0], ("replay (device)", [1000, 2000, 3000]))

    def test_measurements_of_something_else_exit_3(self):
        profile, bench = self.measurements()
        beyond = {**profile, "launches": [{"launch": len(self.shown["launches"]), "microseconds": 1}]}
        for name, value in (("profile", {**profile, "model": "another"}), ("profile", {**profile, "target": "none"}),
                            ("profile", beyond), ("profile", bench), ("bench", {**bench, "model": "another"}),
                            ("bench", profile), ("profile", [])):
            self.pinion("report", self.artifact, f"--{name}=" + self.save("other.json", value), status=BAD_INPUT)

    def test_names_are_text_whatever_they_hold(self):
        copy = os.path.join(WORK, "hostile")
        os.makedirs(copy, exist_ok=True)
        with open(os.path.join(self.artifact, "manifest.json")) as file:
            manifest = json.load(file)
        manifest["name"] = manifest["inputs"][0]["name"] = manifest["stages"][0]["name"] = HOSTILE
        manifest["onnx"]["nodes"][manifest["launches"][0]["nodes"][0]][0] = HOSTILE
        manifest["onnx"]["modules"] = [HOSTILE] * len(manifest["onnx"]["modules"])
        manifest["buffers"][manifest["launches"][0]["arguments"][0]]["name"] = HOSTILE
        with open(os.path.join(copy, "manifest.json"), "w") as file:
            json.dump(manifest, file)
        page = os.path.join(copy, "page.html")
        self.pinion("report", copy, "-o", page)
        root = ElementTree.parse(page).getroot()
        self.assertEqual([element for element in root.iter("script")], [])
        shown = HOSTILE.replace("\x01", "\ufffd")
        self.assertEqual(next(root.iter("h1")).text, shown)
        self.assertIn(shown, [code.text for code in root.iter("code")])

    def test_a_damaged_manifest_exits_3(self):
        copy = os.path.join(WORK, "damaged")
        os.makedirs(copy, exist_ok=True)
        for text in ("", "[]", '{"schema": 1}', '{"schema": 2'):
            with open(os.path.join(copy, "manifest.json"), "w") as file:
                file.write(text)
            self.pinion("report", copy, status=BAD_INPUT)
        launch = {"stage": -3, "arguments": [1e300, -1, "x"], "nodes": [-1, 7], "kernel": 1e9, "results": -1}
        with open(os.path.join(copy, "manifest.json"), "w") as file:
            json.dump({"schema": 2, "launches": [launch, {}], "stages": [{"first_launch": 9e9, "launches": -1}],
                       "buffers": [{"space": "arena", "bytes": -5}], "onnx": {"ends": [{}], "nodes": [[], 3]}}, file)
        ElementTree.fromstring(self.pinion("report", copy))
        self.pinion("inspect", copy)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--pinion", required=True)
    parser.add_argument("--work", required=True)
    options, rest = parser.parse_known_args()
    PINION, WORK = options.pinion, options.work
    unittest.main(argv=[sys.argv[0], *rest])
