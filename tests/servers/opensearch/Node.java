import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.codelibs.opensearch.runner.node.OpenSearchRunnerNode;
import org.opensearch.common.settings.Settings;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.plugins.Plugin;

/** One OpenSearch node on 127.0.0.1 until SIGTERM or the end of stdin. usage: Node FOLDER PORT [setting=value ...] */
public final class Node {
    /** What a distribution would load; those that are not among the jars are left out. */
    private static final List<String> MODULES = List.of(
        "org.opensearch.security.OpenSearchSecurityPlugin",
        "org.opensearch.transport.Netty4ModulePlugin",
        "org.opensearch.analysis.common.CommonAnalysisModulePlugin",
        "org.opensearch.ingest.common.IngestCommonModulePlugin",
        "org.opensearch.painless.PainlessModulePlugin",
        "org.opensearch.index.mapper.MapperExtrasModulePlugin",
        "org.opensearch.index.reindex.ReindexModulePlugin");

    public static void main(String[] arguments) throws Exception {
        Path home = Path.of(arguments[0]).toAbsolutePath();
        Settings.Builder settings = Settings.builder()
            .put("path.home", home)
            .put("path.data", made(home, "data"))
            .put("path.logs", made(home, "logs"))
            .put("cluster.name", "waybill-tests")
            .put("node.name", "n1")
            .put("discovery.type", "single-node")
            .put("network.host", "127.0.0.1")
            .put("http.port", arguments[1])
            .put("transport.port", "0")
            .put("node.processors", 2)
            .put("cluster.routing.allocation.disk.threshold_enabled", false);
        for (int index = 2; index < arguments.length; index++) {
            String[] setting = arguments[index].split("=", 2);
            settings.put(setting[0], setting[1]);
        }
        var node = new OpenSearchRunnerNode(
            InternalSettingsPreparer.prepareEnvironment(settings.build(), Map.of(), made(home, "config"), () -> "n1"), plugins());
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                node.close();
            } catch (Exception error) {
                error.printStackTrace();
            }
        }));
        node.start();
        System.out.println("started");
        while (System.in.read() >= 0) {
            // Only the end counts: whoever started it is gone.
        }
        System.exit(0);
    }

    private static Path made(Path home, String name) throws Exception {
        return Files.createDirectories(home.resolve(name));
    }

    @SuppressWarnings("unchecked")
    private static List<Class<? extends Plugin>> plugins() {
        List<Class<? extends Plugin>> found = new ArrayList<>();
        for (String module : MODULES) {
            // Version 3 renamed the modules of version 2.
            for (String name : List.of(module, module.replace("ModulePlugin", "Plugin"))) {
                try {
                    found.add((Class<? extends Plugin>) Class.forName(name));
                    break;
                } catch (ClassNotFoundException absent) {
                    // The next name, or none.
                }
            }
        }
        return found;
    }
}
