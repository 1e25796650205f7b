import static io.trino.testing.TestingSession.testSessionBuilder;

import io.trino.spi.type.TimeZoneKey;
import io.trino.testing.LocalQueryRunner;
import io.trino.testing.MaterializedRow;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;

/** Runs each file of a folder as one statement on Trino's engine, and writes file, OK or ERR, and the event ids found. */
public class RunSql {
  public static void main(String[] arguments) throws Exception {
    var session = testSessionBuilder().setCatalog("c").setSchema("s").setTimeZoneKey(TimeZoneKey.UTC_KEY).build();
    List<Path> files = new ArrayList<>();
    try (var listed = Files.list(Path.of(arguments[0]))) {
      listed.sorted().forEach(files::add);
    }
    try (var runner = LocalQueryRunner.create(session); var out = Files.newBufferedWriter(Path.of(arguments[1]))) {
      for (Path file : files) {
        out.write(file.getFileName() + "\t" + answer(runner, Files.readString(file)) + "\n");
        out.flush();
      }
    }
    System.exit(0);
  }

  private static String answer(LocalQueryRunner runner, String statement) {
    try {
      var result = runner.execute(statement);
      int last = result.getTypes().size() - 1;
      var found = new TreeSet<String>();
      for (MaterializedRow row : result.getMaterializedRows()) {
        for (Object id : (List<?>) row.getField(last)) {
          found.add((String) id);
        }
      }
      return "OK\t" + String.join("|", found);
    } catch (RuntimeException error) {
      return "ERR\t" + String.valueOf(error.getMessage()).replace('\n', ' ');
    }
  }
}
