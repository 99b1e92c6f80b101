import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialAlteration;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/**
 * A broker. Arguments: its properties, its data folder, the port where it may be administrated, the id of its cluster, and
 * --standalone if it is the cluster's controller.
 * Commands come on stdin, one a line, and are answered with one line each. It ends when stdin does.
 */
public class Broker {
    public static void main(String[] arguments) throws Exception {
        String properties = arguments[0];
        if (!new File(arguments[1], "meta.properties").exists()) {
            List<String> format = new ArrayList<>(List.of("format", "-t", arguments[3], "-c", properties));
            format.addAll(List.of(arguments).subList(4, arguments.length));
            if (kafka.tools.StorageTool.execute(format.toArray(new String[0]), System.err) != 0) {
                System.exit(1);
            }
        }
        Thread broker = new Thread(() -> kafka.Kafka.main(new String[] {properties}));
        broker.setDaemon(true);
        broker.start();
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", "127.0.0.1:" + arguments[2]);
        settings.put("default.api.timeout.ms", "300000");
        try (Admin admin = Admin.create(settings)) {
            BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
            for (String line = commands.readLine(); line != null; line = commands.readLine()) {
                String answer = "ok";
                try {
                    run(admin, line.split(" "));
                } catch (Exception error) {
                    answer = String.valueOf(error).replace('\n', ' ');
                }
                System.out.println(answer);
                System.out.flush();
            }
        }
        System.exit(0);
    }

    private static void run(Admin admin, String[] words) throws Exception {
        switch (words[0]) {
            case "ready" -> admin.describeCluster().nodes().get();
            case "topic" -> {
                Map<String, String> configs = new HashMap<>();
                for (int at = 3; at < words.length; at++) {
                    String[] pair = words[at].split("=", 2);
                    configs.put(pair[0], pair[1]);
                }
                int partitions = Integer.parseInt(words[2]);
                short replicas = Short.parseShort(configs.getOrDefault("replicas", "1"));
                configs.remove("replicas");
                NewTopic topic = new NewTopic(words[1], Optional.of(partitions), Optional.of(replicas));
                admin.createTopics(List.of(topic.configs(configs))).all().get();
            }
            case "configure" -> {
                String[] pair = words[2].split("=", 2);
                AlterConfigOp change = new AlterConfigOp(new ConfigEntry(pair[0], pair[1]), AlterConfigOp.OpType.SET);
                ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, words[1]);
                admin.incrementalAlterConfigs(Map.of(topic, List.of(change))).all().get();
            }
            case "password" -> {
                // One request each: a broker takes only one change of a user at a time.
                for (ScramMechanism mechanism : List.of(ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512)) {
                    UserScramCredentialAlteration change =
                        new UserScramCredentialUpsertion(words[1], new ScramCredentialInfo(mechanism, 4096), words[2]);
                    admin.alterUserScramCredentials(List.of(change)).all().get();
                }
            }
            case "allow" -> admin.createAcls(List.of(rule(words))).all().get();
            case "disallow" -> admin.deleteAcls(List.of(rule(words).toFilter())).all().get();
            default -> throw new IllegalArgumentException("no such command: " + words[0]);
        }
    }

    private static AclBinding rule(String[] words) {
        AclOperation operation = AclOperation.fromString(words[2]);
        AccessControlEntry entry = new AccessControlEntry("User:" + words[1], "*", operation, AclPermissionType.ALLOW);
        return new AclBinding(new ResourcePattern(ResourceType.TOPIC, words[3], PatternType.LITERAL), entry);
    }
}
