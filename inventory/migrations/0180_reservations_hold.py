"""A reservation holds what it promises while it is active, and nothing once it was released or has expired.

A level holds what its lines do (0160_promised), but a line might hold less than it promises: what was taken off both is
promised again, and the first promise is sold all the same. So whoever writes a line that does not hold all of its units,
or raises what one holds, is asked when the transaction ends; and so is whoever changes a reservation's status. A line that
begins with all of its units held costs nothing: that is every promise. What a sale leaves held is `settles_by`'s to say.
"""

from django.db import migrations

LINE = """
CREATE FUNCTION inventory_compare_line() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM inventory_refuse_reservation(r.id, r.status) FROM inventory_reservationline n
    JOIN inventory_reservation r ON r.id = n.reservation_id
    WHERE n.id = NEW.id AND inventory_is_misheld(r.status, n);
    RETURN NULL;
END $$
"""
RESERVATION = """
CREATE FUNCTION inventory_compare_reservation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM inventory_refuse_reservation(r.id, r.status) FROM inventory_reservation r
    JOIN inventory_reservationline n ON n.reservation_id = r.id
    WHERE r.id = NEW.id AND inventory_is_misheld(r.status, n);
    RETURN NULL;
END $$
"""
IS_MISHELD = """
CREATE FUNCTION inventory_is_misheld(status text, line inventory_reservationline) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE status WHEN 'active' THEN line.held + line.pushed <> line.quantity
                       WHEN 'committed' THEN false ELSE line.held + line.pushed > 0 END
$$
"""
REFUSE = """
CREATE FUNCTION inventory_refuse_reservation(p_id bigint, p_status text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'reservation % is %: its lines hold other units than that', p_id, p_status
        USING ERRCODE = 'check_violation', CONSTRAINT = 'reservation_holds_what_its_status_says',
              TABLE = 'inventory_reservationline';
END $$
"""
TRIGGERS = """
CREATE CONSTRAINT TRIGGER reservationline_begins_with_all_its_units AFTER INSERT
ON inventory_reservationline DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (NEW.held + NEW.pushed <> NEW.quantity) EXECUTE FUNCTION inventory_compare_line();
CREATE CONSTRAINT TRIGGER reservationline_holds_what_its_status_says
AFTER UPDATE OF held, pushed, quantity, reservation_id ON inventory_reservationline DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (NEW.held + NEW.pushed <> NEW.quantity OR NEW.held > OLD.held OR NEW.pushed > OLD.pushed
                   OR NEW.reservation_id <> OLD.reservation_id) EXECUTE FUNCTION inventory_compare_line();
CREATE CONSTRAINT TRIGGER reservation_holds_what_its_status_says AFTER UPDATE OF status
ON inventory_reservation DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (NEW.status <> OLD.status) EXECUTE FUNCTION inventory_compare_reservation();
"""
UNDO = """
DROP TRIGGER reservationline_begins_with_all_its_units ON inventory_reservationline;
DROP TRIGGER reservationline_holds_what_its_status_says ON inventory_reservationline;
DROP TRIGGER reservation_holds_what_its_status_says ON inventory_reservation;
"""


class Migration(migrations.Migration):
    dependencies = [("inventory", "0171_to_and_fro")]
    operations = [
        migrations.RunSQL(REFUSE, "DROP FUNCTION inventory_refuse_reservation(bigint, text)"),
        migrations.RunSQL(IS_MISHELD, "DROP FUNCTION inventory_is_misheld(text, inventory_reservationline)"),
        migrations.RunSQL(LINE, "DROP FUNCTION inventory_compare_line()"),
        migrations.RunSQL(RESERVATION, "DROP FUNCTION inventory_compare_reservation()"),
        migrations.RunSQL(TRIGGERS, UNDO),
    ]
