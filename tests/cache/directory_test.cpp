// SPDX-License-Identifier: Apache-2.0
// C4: which directory. C11: whom it trusts. C12: hostile signatures never become paths.
#include "runtime/cache/cache_directory.h"

#include <map>

#include "tests/cache/support.h"

namespace attnc::cache_test {
namespace {

using cache::candidate_directories;
using Paths = std::vector<std::string>;

// A user with a made-up environment and password entry.
class PretendUser : public ScriptedSystem {
 public:
  using ScriptedSystem::ScriptedSystem;
  std::map<std::string, std::string> variables;
  std::optional<std::string> home;
  std::optional<uid_t> user;

  std::optional<std::string> environment(const char* name) override {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  }
  std::optional<std::string> passwd_home() override { return home; }
  uid_t effective_uid() override { return user ? *user : System::effective_uid(); }
};

TEST(CacheLocation, DocumentedOrder) {
  PretendUser user;
  EXPECT_EQ(candidate_directories(user, ""), Paths{});
  user.home = "/home/by-passwd";
  EXPECT_EQ(candidate_directories(user, ""), Paths{"/home/by-passwd/.cache/attnc"});
  user.variables["HOME"] = "/home/me/";
  EXPECT_EQ(candidate_directories(user, ""), (Paths{"/home/me/.cache/attnc", "/home/by-passwd/.cache/attnc"}));
  user.home = "/home/me";
  EXPECT_EQ(candidate_directories(user, ""), Paths{"/home/me/.cache/attnc"});
  user.variables["XDG_CACHE_HOME"] = "/scratch/me";
  EXPECT_EQ(candidate_directories(user, ""), (Paths{"/scratch/me/attnc", "/home/me/.cache/attnc"}));
  user.variables["ATTNC_CACHE_DIR"] = "/explicit/";
  EXPECT_EQ(candidate_directories(user, ""), Paths{"/explicit"});
  EXPECT_EQ(candidate_directories(user, "/option"), Paths{"/option"});
}

TEST(CacheLocation, EmptyAndRelativeValues) {
  PretendUser user;
  user.variables = {{"ATTNC_CACHE_DIR", ""}, {"XDG_CACHE_HOME", "relative"}, {"HOME", ""}};
  EXPECT_EQ(candidate_directories(user, ""), Paths{});
  // An explicit directory may be relative to where the program starts.
  EXPECT_EQ(candidate_directories(user, "here"), Paths{(fs::current_path() / "here").string()});
}

struct Outcome {
  int builds = 0;
  size_t warnings = 0;
  std::string text;
  std::string directory;
};

// Two processes ask for one key.
Outcome run_twice(const std::shared_ptr<PretendUser>& user, KernelCacheOptions options = {}) {
  Warnings warnings;
  Builder builder;
  options.system = user;
  options.on_warning = [&](std::string_view message) { warnings(message); };
  Outcome outcome;
  {
    KernelCache first(options);
    EXPECT_EQ(first.get_or_build("key", builder.of("key"))->binary, binary_of("key"));
    EXPECT_EQ(first.get_or_build("key2", builder.of("key2"))->binary, binary_of("key2"));
    outcome.directory = first.stats().directory;
    outcome.warnings = warnings.count();
    outcome.text = warnings.text();
  }
  KernelCache second(options);
  EXPECT_EQ(second.get_or_build("key", builder.of("key"))->binary, binary_of("key"));
  outcome.builds = builder.count;
  return outcome;
}

TEST(CacheLocation, NoHomeAndNoPasswdEntryIsMemoryOnly) {
  const Outcome outcome = run_twice(std::make_shared<PretendUser>());
  EXPECT_EQ(outcome.builds, 3);
  EXPECT_EQ(outcome.warnings, 1u);
  EXPECT_NE(outcome.text.find("ATTNC_CACHE_DIR"), std::string::npos) << "the warning says what to set";
  EXPECT_EQ(outcome.directory, "");
}

TEST(CacheLocation, MemoryOnlyByOptionIsSilent) {
  const auto user = std::make_shared<PretendUser>();
  KernelCacheOptions options;
  options.memory_only = true;
  const Outcome outcome = run_twice(user, options);
  EXPECT_EQ(outcome.builds, 3);
  EXPECT_EQ(outcome.warnings, 0u);
  EXPECT_EQ(user->calls(), 0);
}

TEST(CacheLocation, ReadOnlyHomeIsMemoryOnly) {
  const TemporaryDirectory directory;
  const auto user =
      std::make_shared<PretendUser>([](const Call& call) { return call.name == "make_dir_at" ? -EROFS : 0; });
  user->variables["HOME"] = directory.path().string();
  const Outcome outcome = run_twice(user);
  EXPECT_EQ(outcome.builds, 3);
  EXPECT_EQ(outcome.warnings, 1u);
  EXPECT_TRUE(fs::is_empty(directory.path()));
}

TEST(CacheLocation, ReadOnlyXdgFallsBackToHome) {
  const TemporaryDirectory directory;
  const std::string xdg = (directory.path() / "xdg").string();
  const auto user = std::make_shared<PretendUser>(
      [=](const Call& call) { return call.name == "make_dir_at" && call.path.starts_with(xdg) ? -EROFS : 0; });
  user->variables = {{"XDG_CACHE_HOME", xdg}, {"HOME", (directory.path() / "home").string()}};
  const Outcome outcome = run_twice(user);
  EXPECT_EQ(outcome.builds, 2);
  EXPECT_EQ(outcome.warnings, 0u) << outcome.text;
  EXPECT_EQ(outcome.directory, (directory.path() / "home/.cache/attnc/v1").string());
}

TEST(CacheLocation, AnExplicitDirectoryIsTakenAtItsWord) {
  const TemporaryDirectory directory;
  const auto user = std::make_shared<PretendUser>(
      [](const Call& call) { return call.path.ends_with("/explicit") && call.name == "make_dir_at" ? -EROFS : 0; });
  user->variables = {{"ATTNC_CACHE_DIR", (directory.path() / "explicit").string()},
                     {"HOME", directory.path().string()}};
  const Outcome outcome = run_twice(user);
  EXPECT_EQ(outcome.builds, 3);
  EXPECT_EQ(outcome.warnings, 1u);
  EXPECT_TRUE(fs::is_empty(directory.path())) << "nothing is written where nobody asked for it";
}

TEST(CacheLocation, AReadOnlyCacheStillServesHits) {
  const TemporaryDirectory directory;
  Builder builder;
  ASSERT_TRUE(serves(options_for(directory), "key", builder));
  set_age(directory.root() / entry_name("key"), std::chrono::hours(1));
  Warnings warnings;
  const auto read_only = std::make_shared<ScriptedSystem>([](const Call& call) {
    const bool writes = call.name == "make_dir_at" || call.name == "write" || call.name == "rename_at" ||
                        call.name == "touch" || call.path == "lock" || call.path.find(".tmp.") != std::string::npos;
    return writes ? -EROFS : 0;
  });
  ASSERT_TRUE(serves(options_for(directory, read_only, &warnings), "key", builder));
  EXPECT_EQ(builder.count, 1);
  EXPECT_EQ(warnings.count(), 0u) << warnings.text();
}

TEST(CacheTrust, CreatesPrivateDirectoriesAndFiles) {
  const TemporaryDirectory directory;
  const mode_t old_mask = ::umask(0);
  Builder builder;
  KernelCacheOptions options = options_for(directory);
  options.directory = (directory.path() / "a/b/cache").string();
  EXPECT_TRUE(serves(options, "key", builder));
  ::umask(old_mask);
  int directories = 0, files = 0;
  for (const auto& item : fs::recursive_directory_iterator(directory.path())) {
    const auto mode = static_cast<unsigned>(item.status().permissions());
    EXPECT_EQ(mode, item.is_directory() ? 0700u : 0600u) << item.path();
    ++(item.is_directory() ? directories : files);
  }
  EXPECT_EQ(directories, 4);
  EXPECT_EQ(files, 2);
}

TEST(CacheTrust, RefusesADirectoryOfAnotherUserUnlessShared) {
  const TemporaryDirectory directory;
  Builder builder;
  ASSERT_TRUE(serves(options_for(directory), "key", builder));
  const auto user = std::make_shared<PretendUser>();
  user->user = ::geteuid() + 1;
  KernelCacheOptions options;
  options.directory = directory.cache().string();
  Outcome outcome = run_twice(user, options);
  EXPECT_EQ(outcome.builds, 3);
  EXPECT_EQ(outcome.warnings, 1u);
  EXPECT_NE(outcome.text.find("another user"), std::string::npos) << outcome.text;
  options.shared = true;
  outcome = run_twice(user, options);
  EXPECT_EQ(outcome.builds, 1) << "key is there already";
  EXPECT_EQ(outcome.warnings, 0u) << outcome.text;
}

TEST(CacheTrust, RefusesADirectoryThatOthersCanWriteUnlessShared) {
  for (const mode_t mode : {0770, 0702, 0777, 01777}) {
    for (const bool inner : {false, true}) {
      const TemporaryDirectory directory;
      Builder builder;
      ASSERT_TRUE(serves(options_for(directory), "key", builder));
      ASSERT_EQ(::chmod((inner ? directory.root() : directory.cache()).c_str(), mode), 0);
      KernelCacheOptions options;
      options.directory = directory.cache().string();
      Outcome outcome = run_twice(std::make_shared<PretendUser>(), options);
      EXPECT_EQ(outcome.builds, 3) << std::oct << mode;
      EXPECT_EQ(outcome.warnings, 1u);
      options.shared = true;
      outcome = run_twice(std::make_shared<PretendUser>(), options);
      EXPECT_EQ(outcome.builds, 1) << std::oct << mode;
      EXPECT_EQ(outcome.warnings, 0u) << outcome.text;
    }
  }
}

TEST(CacheTrust, SharedDirectoriesAndFilesAreForTheGroup) {
  const TemporaryDirectory directory;
  const mode_t old_mask = ::umask(077);
  KernelCacheOptions options = options_for(directory);
  options.shared = true;
  Builder builder;
  EXPECT_TRUE(serves(options, "key", builder));
  ::umask(old_mask);
  const auto mode = [](const fs::path& path) { return static_cast<unsigned>(fs::status(path).permissions()); };
  EXPECT_EQ(mode(directory.root()), 0770u);
  EXPECT_EQ(mode(directory.root() / "lock"), 0660u);
  EXPECT_EQ(mode(directory.root() / entry_name("key")), 0660u);
}

TEST(CacheTrust, DoesNotFollowALinkToADirectory) {
  for (const bool inner : {false, true}) {
    const TemporaryDirectory directory;
    const fs::path elsewhere = directory.path() / "elsewhere";
    fs::create_directories(elsewhere / "v1");
    fs::permissions(elsewhere, fs::perms::owner_all);
    fs::permissions(elsewhere / "v1", fs::perms::owner_all);
    if (inner) fs::create_directory(directory.cache());
    fs::create_directory_symlink(inner ? elsewhere / "v1" : elsewhere, inner ? directory.root() : directory.cache());
    for (const char* slash : {"", "/", "//"}) {
      KernelCacheOptions options;
      options.directory = directory.cache().string() + slash;
      const Outcome outcome = run_twice(std::make_shared<PretendUser>(), options);
      EXPECT_EQ(outcome.builds, 3);
      EXPECT_EQ(outcome.warnings, 1u);
    }
    EXPECT_TRUE(fs::is_empty(elsewhere / "v1"));
  }
}

// What lies in place of an entry is never opened as one; afterwards the name holds a proper entry.
void expect_replaced(const TemporaryDirectory& directory, const std::string& signature) {
  Builder builder;
  Warnings warnings;
  EXPECT_TRUE(serves(options_for(directory, std::make_shared<ScriptedSystem>(), &warnings), signature, builder));
  EXPECT_EQ(builder.count, 1);
  EXPECT_LE(warnings.count(), 1u);
  EXPECT_TRUE(serves(options_for(directory), signature, builder));
  EXPECT_EQ(builder.count, 1);
  EXPECT_TRUE(fs::is_regular_file(fs::symlink_status(directory.root() / entry_name(signature))));
}

class CacheOddEntries : public ::testing::Test {
 protected:
  void SetUp() override {
    Builder builder;
    ASSERT_TRUE(serves(options_for(directory_), "key", builder));
    whole_ = read_file(entry_);
    fs::remove(entry_);
  }
  TemporaryDirectory directory_;
  const fs::path entry_ = directory_.root() / entry_name("key");
  std::string whole_;
};

TEST_F(CacheOddEntries, LinkToAValidEntry) {
  write_file(directory_.path() / "valid", whole_);
  fs::create_symlink(directory_.path() / "valid", entry_);
  expect_replaced(directory_, "key");
  EXPECT_EQ(read_file(directory_.path() / "valid"), whole_);
}

TEST_F(CacheOddEntries, DanglingLinkCreatesNothing) {
  fs::create_symlink(directory_.path() / "target", entry_);
  expect_replaced(directory_, "key");
  EXPECT_FALSE(fs::exists(directory_.path() / "target"));
}

TEST_F(CacheOddEntries, FifoDoesNotHang) {
  ASSERT_EQ(::mkfifo(entry_.c_str(), 0600), 0);
  ::alarm(20);
  expect_replaced(directory_, "key");
  ::alarm(0);
}

TEST_F(CacheOddEntries, Directory) {
  fs::create_directories(entry_ / "full");
  expect_replaced(directory_, "key");
}

TEST_F(CacheOddEntries, FileThatOthersCanWrite) {
  write_file(entry_, whole_, 0666);
  expect_replaced(directory_, "key");
}

TEST_F(CacheOddEntries, FileOfAnotherUser) {
  // Only the entry: the system pretends that the files of this size have another owner.
  class ForeignFile : public ScriptedSystem {
   public:
    explicit ForeignFile(off_t size) : size_(size) {}
    int stat_fd(int fd, struct stat* result) override {
      const int status = System::stat_fd(fd, result);
      if (status == 0 && S_ISREG(result->st_mode) && result->st_size == size_) ++result->st_uid;
      return status;
    }

   private:
    off_t size_;
  };
  write_file(entry_, whole_);
  Builder builder;
  const auto system = std::make_shared<ForeignFile>(static_cast<off_t>(whole_.size()));
  EXPECT_TRUE(serves(options_for(directory_, system), "key", builder));
  EXPECT_EQ(builder.count, 1);
}

TEST_F(CacheOddEntries, LockIsALinkAFifoOrADirectory) {
  const fs::path lock = directory_.root() / "lock";
  const fs::path target = directory_.path() / "target";
  for (int kind = 0; kind < 3; ++kind) {
    fs::remove_all(lock);
    if (kind == 0) fs::create_symlink(target, lock);
    if (kind == 1) {
      ASSERT_EQ(::mkfifo(lock.c_str(), 0600), 0);
    }
    if (kind == 2) fs::create_directory(lock);
    ::alarm(20);
    Builder builder;
    const std::string signature = "lock" + std::to_string(kind);
    EXPECT_TRUE(serves(options_for(directory_), signature, builder));
    EXPECT_TRUE(serves(options_for(directory_), signature, builder));
    EXPECT_EQ(builder.count, 1);
    ::alarm(0);
  }
  EXPECT_FALSE(fs::exists(target));
}

TEST(CacheHostileSignatures, PathsAreHexadecimalDigitsOnly) {
  const TemporaryDirectory directory;
  fs::create_directories(directory.path() / "a");
  std::vector<std::string> signatures = {"",
                                         "../../../../etc/passwd",
                                         "/etc/passwd",
                                         "..",
                                         ".",
                                         "lock",
                                         std::string("nul\0inside", 10),
                                         std::string("nul\0other!", 10),
                                         std::string(1, '\0'),
                                         "line\nline\r\n",
                                         "%s%n%x",
                                         "$(touch x);`touch y`",
                                         "\xff\xfe\x80 not UTF-8",
                                         std::string(10'000, 'k'),
                                         std::string(10'000, '/'),
                                         std::string(1 << 20, 'M'),
                                         entry_name("key") + ".bad"};
  KernelCacheOptions options = options_for(directory);
  options.directory = (directory.path() / "a/cache").string();
  Builder builder;
  for (int round = 0; round < 2; ++round) {
    for (const std::string& signature : signatures) EXPECT_TRUE(serves(options, signature, builder));
  }
  EXPECT_EQ(builder.count, static_cast<int>(signatures.size())) << "each is a key of its own and hits the second time";

  size_t files = 0;
  for (const auto& item : fs::recursive_directory_iterator(directory.path())) {
    if (item.is_directory()) continue;
    const std::string name = item.path().filename().string();
    EXPECT_EQ(item.path().parent_path(), directory.path() / "a/cache/v1");
    EXPECT_TRUE(name == "lock" || cache::name_kind(name) == cache::NameKind::entry) << name;
    ++files;
  }
  EXPECT_EQ(files, signatures.size() + 1);
}

TEST(CacheHostileSignatures, NameKinds) {
  using cache::name_kind;
  using cache::NameKind;
  const std::string hex = "0123456789abcdef0123456789abcdef";
  EXPECT_EQ(name_kind(hex), NameKind::entry);
  EXPECT_EQ(name_kind(hex + ".bad"), NameKind::set_aside);
  EXPECT_EQ(name_kind(hex + ".tmp.0123456789abcdef"), NameKind::temporary);
  for (const std::string& name : {std::string("lock"), std::string(""), hex.substr(1), hex + "0", hex + ".bad2",
                                  hex + ".tmp.", hex + ".tmp.0123456789abcdeX", "0123456789ABCDEF" + hex.substr(16)}) {
    EXPECT_EQ(name_kind(name), NameKind::other) << name;
  }
}

}  // namespace
}  // namespace attnc::cache_test
