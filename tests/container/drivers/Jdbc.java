import java.net.URI;
import java.sql.DriverManager;
import java.util.Properties;

public class Jdbc {
    public static void main(String[] arguments) throws Exception {
        var url = URI.create(System.getenv("DATABASE_URL"));
        var login = url.getUserInfo().split(":", 2);
        var properties = new Properties();
        properties.setProperty("user", login[0]);
        properties.setProperty("password", login[1]);
        var address = "jdbc:postgresql://" + url.getHost() + ":" + url.getPort() + url.getPath();
        try (var connection = DriverManager.getConnection(address, properties);
                var statement = connection.createStatement();
                var rows = statement.executeQuery(
                        "select current_setting('lock_timeout'), current_setting('application_name')")) {
            rows.next();
            System.out.println("jdbc " + rows.getString(1) + " " + rows.getString(2));
        }
    }
}
