# SPDX-License-Identifier: Apache-2.0
"""attnc cache: stats, verify, prune and clear of a directory that holds the kernels of a few runs."""
import os
import stat
import unittest

import harness
from harness import CliTest, normal

NOBODY = 65534


class Cache(CliTest):
    def cache(self, action, *arguments, **expected):
        return self.attnc("cache", action, "--json", *arguments, **expected).json()

    def fill(self):
        """One kernel for each of three factors. Returns how many entries that makes."""
        self.need_cpu()
        self.write("in.safetensors", {name: normal("F32", 1, 1, 4, 16) for name in "qkv"})
        for factor in (2, 3, 4):
            self.run_once(factor)
        count = self.cache("stats")["entries"]
        self.assertGreaterEqual(count, 3)
        return count

    def run_once(self, factor):
        self.attnc("run", "--in", "in.safetensors", "--out", "out.safetensors", "--score-mod", f"score * {factor}")

    def entries(self):
        """Paths of the entries' files, oldest first."""
        found = [os.path.join(at, name) for at, _, names in os.walk(self.path("cache")) for name in names if len(name) == 32]
        return sorted(found, key=lambda path: os.stat(path).st_mtime_ns)

    def test_no_directory_is_an_empty_cache(self):
        stats = self.cache("stats")
        self.assertEqual((stats["entries"], stats["bytes"], stats["set_aside"], stats["temporaries"]), (0, 0, 0, 0))
        self.assertTrue(stats["directory"].startswith(self.path("cache")))
        self.assertEqual(self.cache("verify"), {"good": 0, "damaged": 0})
        for action in ("prune", "clear"):
            self.assertEqual(self.cache(action), {"removed_entries": 0, "removed_bytes": 0})
        self.assertFalse(os.path.exists(self.path("cache")), "looking makes no directory")

    def test_an_empty_directory(self):
        os.mkdir(self.path("cache"), 0o700)
        self.assertEqual(self.cache("stats")["entries"], 0)
        self.assertEqual(self.cache("clear"), {"removed_entries": 0, "removed_bytes": 0})

    def test_stats_count_what_runs_leave(self):
        count = self.fill()
        stats = self.cache("stats")
        self.assertEqual(stats["bytes"], sum(os.path.getsize(path) for path in self.entries()))
        self.assertEqual(len(self.entries()), count)
        self.run_once(3)
        self.assertEqual(self.cache("stats")["entries"], count, "a hit adds none")
        text = self.attnc("cache", "stats").out
        self.assertRegex(text, rf"entries +{count}\n")

    def test_dir_names_another(self):
        count = self.fill()
        self.assertEqual(self.cache("stats", "--dir", self.path("elsewhere"))["entries"], 0)
        self.assertEqual(self.cache("stats", "--dir", self.path("cache"))["entries"], count)

    def test_verify_sets_damage_aside_and_runs_heal_it(self):
        count = self.fill()
        self.assertEqual(self.cache("verify"), {"good": count, "damaged": 0})
        flipped, cut, emptied = self.entries()[:3]
        with open(flipped, "r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last[0] ^ 1]))
        os.truncate(cut, os.path.getsize(cut) // 2)
        os.truncate(emptied, 0)
        self.assertEqual(self.cache("verify"), {"good": count - 3, "damaged": 3})
        stats = self.cache("stats")
        self.assertEqual((stats["entries"], stats["set_aside"]), (count - 3, 3))
        for factor in (2, 3, 4):
            self.run_once(factor)
        self.assertEqual(self.cache("verify"), {"good": count, "damaged": 0})

    def test_a_run_over_a_damaged_entry(self):
        count = self.fill()
        expected = self.content("out.safetensors")
        for path in self.entries():
            os.truncate(path, 100)
        self.run_once(4)
        self.assertEqual(self.content("out.safetensors"), expected)
        self.assertLess(self.cache("verify")["damaged"], count, "what the run met was set aside and made anew")

    def test_prune(self):
        count = self.fill()
        for age, path in enumerate(self.entries()):
            os.utime(path, (10**9 + age, 10**9 + age))
        newest = self.entries()[-1]
        removed = self.cache("prune", "--max-entries", "1")
        self.assertEqual(removed["removed_entries"], count - 1)
        self.assertEqual(self.entries(), [newest])
        self.assertEqual(self.cache("prune", "--max-bytes", str(os.path.getsize(newest)))["removed_entries"], 0)
        self.assertEqual(self.cache("prune", "--max-bytes", "1")["removed_entries"], 1)
        self.assertEqual(self.cache("stats")["entries"], 0)

    def test_clear(self):
        count = self.fill()
        removed = self.cache("clear")
        self.assertEqual(removed["removed_entries"], count)
        self.assertGreater(removed["removed_bytes"], 0)
        self.assertEqual(self.cache("stats")["entries"], 0)
        self.run_once(2)
        self.assertGreaterEqual(self.cache("stats")["entries"], 1)

    def test_files_that_are_not_the_caches_stay(self):
        self.fill()
        stranger = os.path.join(os.path.dirname(self.entries()[0]), "notes.txt")
        with open(stranger, "w") as file:
            file.write("mine")
        self.cache("clear")
        self.assertTrue(os.path.exists(stranger))

    def test_a_read_only_directory(self):
        """Looking works; clearing says why it cannot; a run works all the same."""
        count = self.fill()
        preexec = None
        if os.geteuid() == 0:  # who may write everything: become somebody else
            preexec = lambda: os.setuid(NOBODY)  # noqa: E731
            os.chmod(self.folder, 0o777)
            for at, _, names in os.walk(self.path("cache")):
                for name in [".", *names]:
                    os.chown(os.path.join(at, name), NOBODY, NOBODY)
            if not self.reachable(preexec):
                self.skipTest("the program lies where only root can run it")
        folder = os.path.dirname(self.entries()[0])
        os.chmod(folder, stat.S_IRUSR | stat.S_IXUSR)
        self.addCleanup(os.chmod, folder, stat.S_IRWXU)
        self.assertEqual(self.cache("stats", preexec=preexec)["entries"], count)
        self.assertEqual(self.cache("verify", preexec=preexec), {"good": count, "damaged": 0})
        self.refused("cache", "clear", saying=["kernel cache: delete", "Permission denied"], preexec=preexec)
        self.attnc("run", "--in", "in.safetensors", "--out", "new.safetensors", "--score-mod", "score * 5", preexec=preexec)
        self.assertEqual(self.cache("stats", preexec=preexec)["entries"], count)

    def reachable(self, preexec):
        try:
            self.attnc("--version", preexec=preexec)
            return True
        except OSError:
            return False

    def test_a_directory_that_others_can_write_is_refused(self):
        self.fill()
        os.chmod(self.path("cache"), 0o777)
        for action in ("stats", "verify", "prune", "clear"):
            self.refused("cache", action, saying="kernel cache: ")
        self.run_once(2)

    def test_what_the_user_gets_wrong(self):
        self.refused("cache", saying="action is required")
        self.refused("cache", "burn", saying="burn")
        self.refused("cache", "prune", "--max-bytes", "many", saying="--max-bytes")
        self.refused("cache", "prune", "--max-entries", "-1", saying="--max-entries")


if __name__ == "__main__":
    harness.main()
